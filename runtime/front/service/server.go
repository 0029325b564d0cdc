// Package service is the gRPC side: TensorFlow Serving's two services, health and reflection.
package service

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"accelform/front/device"
	"accelform/front/intake"
	"accelform/front/security"
	"accelform/front/settings"
	"accelform/front/telemetry"
)

const (
	// A client that pings more often than this, or sends nothing for idle, is sent away; old clients drop their
	// channel after two minutes themselves.
	pingAtMost = 10 * time.Second
	idle       = 10 * time.Minute
	// Windows that take an image at once; one that is too small costs a call another way to the client and back.
	streamWindow     = 1 << 20
	connectionWindow = 2 << 20
	buffer           = 128 << 10
)

// Server answers gRPC calls with the model on a device.
type Server struct {
	settings *settings.Settings
	log      *telemetry.Log
	metrics  *telemetry.Metrics
	traces   *telemetry.Traces
	guard    *security.Guard
	device   *device.Device
	health   *health.Server
	probes   *health.Server
	updating sync.Mutex
	grpc     *grpc.Server
	door     *healthDoor
	arrivals arrivals
	inFlight atomic.Int64
	stopping atomic.Bool
	closing  context.Context
	close    context.CancelFunc
	left     chan struct{} // closed when all have left
	leaving  sync.Once
}

// Parts are what a server works with.
type Parts struct {
	Settings     *settings.Settings
	Log          *telemetry.Log
	Metrics      *telemetry.Metrics
	Traces       *telemetry.Traces
	Guard        *security.Guard
	Device       *device.Device
	Ledger       *intake.Ledger
	Certificates *security.Certificates // nil: no TLS
}

// New makes a server; Update has to be called when the device changes.
func New(p Parts) *Server {
	closing, end := context.WithCancel(context.Background())
	s := &Server{
		settings: p.Settings, log: p.Log, metrics: p.Metrics, traces: p.Traces, guard: p.Guard, device: p.Device,
		health: health.NewServer(), probes: health.NewServer(), closing: closing, close: end,
		left: make(chan struct{}),
	}
	s.door = &healthDoor{source: s.health, strangers: new(strangers), closing: closing}
	options := append([]grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idle}),
		grpc.UnknownServiceHandler(s.unary(telemetry.Other, 0, unknown)),
		grpc.StreamInterceptor(s.guardStream),
	}, p.Traces.ServerOptions()...)
	var secure credentials.TransportCredentials
	if p.Certificates != nil {
		secure = credentials.NewTLS(p.Certificates.Config("h2"))
	}
	s.grpc = grpc.NewServer(append(options, s.bounds(p.Ledger, secure)...)...)
	s.register()
	s.Update()
	return s
}

// bounds are what every port of gRPC has: its way in, limits, windows and times.
func (s *Server) bounds(ledger *intake.Ledger, secure credentials.TransportCredentials) []grpc.ServerOption {
	handshake := settings.Seconds(s.settings.HandshakeTimeoutSeconds)
	door := intake.NewDoor(ledger, handshake, settings.Seconds(s.settings.ReceiveTimeoutSeconds))
	return []grpc.ServerOption{
		grpc.Creds(door.Credentials(secure)),
		grpc.InTapHandle(door.Tap),
		grpc.ReadBufferSize(0), // the door has one, and has to see each frame when gRPC does
		grpc.WriteBufferSize(buffer),
		grpc.SharedWriteBuffer(true),
		grpc.MaxHeaderListSize(intake.TransportHeaders),
		grpc.MaxConcurrentStreams(uint32(s.settings.MaxConcurrentStreams)),
		grpc.ConnectionTimeout(handshake),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connectionWindow),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAtMost, PermitWithoutStream: true}),
	}
}

func (s *Server) register() {
	longest := s.settings.MaxRequestBytes
	s.grpc.RegisterService(describe(predictionService, map[string]grpc.StreamHandler{
		"Predict":          s.unary("Predict", longest, s.score),
		"Classify":         s.unary("Classify", longest, s.score),
		"Regress":          s.unary("Regress", longest, s.score),
		"MultiInference":   s.unary("MultiInference", longest, s.score),
		"GetModelMetadata": s.unary("GetModelMetadata", longestRequest, s.getModelMetadata),
	}), s)
	s.grpc.RegisterService(describe(modelService, map[string]grpc.StreamHandler{
		"GetModelStatus":            s.unary("GetModelStatus", longestRequest, s.getModelStatus),
		"HandleReloadConfigRequest": s.unary("HandleReloadConfigRequest", longestRequest, s.handleReload),
	}), s)
	s.door.register(s.grpc)
	reflection.Register(s.grpc)
}

func describe(name string, methods map[string]grpc.StreamHandler) *grpc.ServiceDesc {
	found := &grpc.ServiceDesc{ServiceName: name, HandlerType: (*any)(nil), Metadata: "services.proto"}
	for method, handler := range methods {
		found.Streams = append(found.Streams, grpc.StreamDesc{StreamName: method, Handler: handler})
	}
	return found
}
