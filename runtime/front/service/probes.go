package service

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"accelform/front/settings"
)

const (
	// liveName is what a kubelet's liveness probe asks for.
	liveName = "live"
	// ProbeConnections are more than a node's probes and a few curious people need.
	ProbeConnections = 64
	probeIdle        = time.Minute
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
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(longestQuestion),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.MaxConcurrentStreams(uint32(s.settings.MaxConcurrentStreams)),
		grpc.ConnectionTimeout(settings.Seconds(s.settings.HandshakeTimeoutSeconds)),
		grpc.InTapHandle(newReceiving(settings.Seconds(s.settings.ReceiveTimeoutSeconds)).begin),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: probeIdle}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAtMost, PermitWithoutStream: true}),
		grpc.StreamInterceptor(func(
			service any, stream grpc.ServerStream, about *grpc.StreamServerInfo, handle grpc.StreamHandler,
		) error {
			s.Update() // a process whose locks are held for good answers no question
			return door.guard(service, stream, about, handle)
		}),
	)
	door.register(server)
	return &Probes{server: server, close: end}
}

// Serve accepts connections until Stop.
func (p *Probes) Serve(listener net.Listener) error { return p.server.Serve(listener) }

// Stop ends watchers and closes every connection.
func (p *Probes) Stop() {
	p.close()
	p.server.Stop()
}
