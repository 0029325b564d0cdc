package service

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"

	"accelform/front/intake"
	"accelform/front/refusal"
)

const (
	// liveName is what a kubelet's liveness probe asks for.
	liveName = "live"
	// ProbeConnections are more than a node's probes and a few curious people need.
	ProbeConnections = 64
	probeIdle        = time.Minute
	// probeBytes is a budget of its own, so that probes are answered whatever happens at the other ports.
	probeBytes = 8 << 20
)

// Probes serves gRPC's health service and nothing else, in plain text and without a key: a kubelet has neither a
// certificate nor a key. Besides the names of the main port it knows "live".
type Probes struct {
	server *grpc.Server
	close  context.CancelFunc
}

// NewProbes makes the probes' server of a service.
func (s *Server) NewProbes() *Probes {
	closing, end := context.WithCancel(context.Background())
	door := &healthDoor{source: s.probes, strangers: new(strangers), closing: closing}
	options := append(s.bounds(intake.NewLedger(probeBytes), nil),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: probeIdle}),
		grpc.UnknownServiceHandler(nowhere),
		grpc.StreamInterceptor(func(
			service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler,
		) error {
			call := intake.Of(stream.Context())
			call.Begin()
			defer call.End()
			s.Update() // a process whose locks are held for good answers no question
			return door.guard(service, stream, handle)
		}),
	)
	server := grpc.NewServer(options...)
	door.register(server)
	return &Probes{server: server, close: end}
}

// nowhere answers methods that there are not.
func nowhere(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	return refusal.New(codes.Unimplemented, "there is no method %s here; only health is", name).Status()
}

// Serve accepts connections until Stop.
func (p *Probes) Serve(listener net.Listener) error { return p.server.Serve(listener) }

// Stop ends watchers and closes every connection.
func (p *Probes) Stop() {
	p.close()
	p.server.Stop()
}
