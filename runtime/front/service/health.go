package service

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

const (
	predictionService = "tensorflow.serving.PredictionService"
	modelService      = "tensorflow.serving.ModelService"
	healthPrefix      = "/grpc.health.v1.Health/"
)

// Ready is whether a client should send calls here.
func (s *Server) Ready() bool { return s.device.Serving() && !s.stopping.Load() }

// Update tells health checks and watchers whether calls are answered; no name is the whole server.
func (s *Server) Update() {
	state := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if s.Ready() {
		state = grpc_health_v1.HealthCheckResponse_SERVING
	}
	for _, name := range []string{"", predictionService, modelService} {
		s.health.SetServingStatus(name, state)
	}
}

// guardUnary lets health in without a key, and nothing else that a library serves.
func (s *Server) guardUnary(ctx context.Context, request any, about *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	received(ctx)
	if !strings.HasPrefix(about.FullMethod, healthPrefix) {
		headers, _ := metadata.FromIncomingContext(ctx)
		if refused := s.guard.Admit(first(headers, authorizationKey)); refused != nil {
			return nil, refused.Status()
		}
	}
	return handle(ctx, request)
}

// guardStream does the same for streams; own methods look after themselves. A Watch ends when the server does.
func (s *Server) guardStream(service any, stream grpc.ServerStream, about *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if strings.HasPrefix(about.FullMethod, "/tensorflow.serving.") {
		return handle(service, stream)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	inner := &receivingStream{ServerStream: stream, ctx: ctx}
	if strings.HasPrefix(about.FullMethod, healthPrefix) {
		err := handle(service, inner)
		if s.closing.Err() != nil && stream.Context().Err() == nil {
			return nil
		}
		return err
	}
	headers, _ := metadata.FromIncomingContext(ctx)
	if refused := s.guard.Admit(first(headers, authorizationKey)); refused != nil {
		_ = stream.SetHeader(metadata.Pairs(requestIDKey, newRequestID()))
		return refused.Status()
	}
	return handle(service, inner)
}
