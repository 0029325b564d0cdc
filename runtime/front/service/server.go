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
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"accelform/front/device"
	"accelform/front/security"
	"accelform/front/settings"
	"accelform/front/telemetry"
)

const (
	maxHeaderBytes = 16 << 10
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
		grpc.MaxRecvMsgSize(p.Settings.MaxRequestBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.MaxConcurrentStreams(uint32(p.Settings.MaxConcurrentStreams)),
		grpc.ConnectionTimeout(settings.Seconds(p.Settings.HandshakeTimeoutSeconds)),
		grpc.InTapHandle(newReceiving(settings.Seconds(p.Settings.ReceiveTimeoutSeconds)).begin),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connectionWindow),
		grpc.ReadBufferSize(buffer),
		grpc.WriteBufferSize(buffer),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idle}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAtMost, PermitWithoutStream: true}),
		grpc.UnknownServiceHandler(s.unary(telemetry.Other, unknown)),
		grpc.StreamInterceptor(s.guardStream),
	}, p.Traces.ServerOptions()...)
	if p.Certificates != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(p.Certificates.Config("h2"))))
	}
	s.grpc = grpc.NewServer(options...)
	s.register()
	s.Update()
	return s
}

func (s *Server) register() {
	s.grpc.RegisterService(describe(predictionService, map[string]grpc.StreamHandler{
		"Predict":          s.unary("Predict", s.score),
		"Classify":         s.unary("Classify", s.score),
		"Regress":          s.unary("Regress", s.score),
		"MultiInference":   s.unary("MultiInference", s.score),
		"GetModelMetadata": s.unary("GetModelMetadata", s.getModelMetadata),
	}), s)
	s.grpc.RegisterService(describe(modelService, map[string]grpc.StreamHandler{
		"GetModelStatus":            s.unary("GetModelStatus", s.getModelStatus),
		"HandleReloadConfigRequest": s.unary("HandleReloadConfigRequest", s.handleReload),
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
