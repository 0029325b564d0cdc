package service

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
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

// registerHealth serves gRPC's health service. Its calls are taken in with bounds of their own, see strangers.
func (s *Server) registerHealth() {
	service := &grpc.ServiceDesc{
		ServiceName: grpc_health_v1.Health_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Metadata:    grpc_health_v1.Health_ServiceDesc.Metadata,
	}
	for name, handler := range map[string]grpc.StreamHandler{
		"Check": question(s.health.Check),
		"List":  question(s.health.List),
		"Watch": s.watchHealth,
	} {
		service.Streams = append(service.Streams, grpc.StreamDesc{StreamName: name, Handler: handler, ServerStreams: true})
	}
	s.grpc.RegisterService(service, s)
}

// question serves a method of one short message and one answer.
func question[In, Out any](answer func(context.Context, *In) (*Out, error)) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		message := new(In)
		if err := receiveShort(stream, any(message).(proto.Message)); err != nil {
			return err
		}
		reply, err := answer(stream.Context(), message)
		if err != nil {
			return err
		}
		return stream.SendMsg(reply)
	}
}

// watchHealth serves a Watch, which ends when the server does.
func (s *Server) watchHealth(_ any, stream grpc.ServerStream) error {
	message := new(grpc_health_v1.HealthCheckRequest)
	if err := receiveShort(stream, message); err != nil {
		return err
	}
	received(stream.Context())
	err := s.health.Watch(message, &grpc.GenericServerStream[
		grpc_health_v1.HealthCheckRequest, grpc_health_v1.HealthCheckResponse,
	]{ServerStream: stream})
	if s.closing.Err() != nil {
		return nil
	}
	return err
}

// guardStream lets health in without a key, and nothing else that a library serves; own methods look after themselves.
func (s *Server) guardStream(service any, stream grpc.ServerStream, about *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	defer received(stream.Context()) // also of a call that was turned away
	if strings.HasPrefix(about.FullMethod, "/tensorflow.serving.") {
		return handle(service, stream)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	inner := &receivingStream{ServerStream: stream, ctx: ctx}
	if strings.HasPrefix(about.FullMethod, healthPrefix) {
		leave, entered := s.strangers.enter(ctx)
		if !entered {
			return tooMany()
		}
		defer leave()
		return handle(service, inner)
	}
	headers, _ := metadata.FromIncomingContext(ctx)
	if refused := s.guard.Admit(first(headers, authorizationKey)); refused != nil {
		_ = stream.SetHeader(metadata.Pairs(requestIDKey, newRequestID()))
		return refused.Status()
	}
	return handle(service, inner)
}
