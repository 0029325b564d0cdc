package service

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"accelform/front/intake"
	"accelform/front/security"
	"accelform/front/telemetry"
)

const (
	predictionService = "tensorflow.serving.PredictionService"
	modelService      = "tensorflow.serving.ModelService"
	healthPrefix      = "/grpc.health.v1.Health/"
)

// Ready is whether a client should send calls here.
func (s *Server) Ready() bool { return s.device.Serving() && !s.stopping.Load() }

// Live is whether the process is worth keeping: also while it loads, starts its worker anew, or finishes what it has
// accepted.
func (s *Server) Live() bool { return !s.device.Stuck() }

// Update tells health checks and watchers whether calls are answered; no name is the whole server.
func (s *Server) Update() {
	s.updating.Lock() // the last word is the newest
	defer s.updating.Unlock()
	state := stateOf(s.Ready())
	for _, name := range []string{"", predictionService, modelService} {
		s.health.SetServingStatus(name, state)
		s.probes.SetServingStatus(name, state)
	}
	s.probes.SetServingStatus(liveName, stateOf(s.Live()))
}

func stateOf(good bool) grpc_health_v1.HealthCheckResponse_ServingStatus {
	if good {
		return grpc_health_v1.HealthCheckResponse_SERVING
	}
	return grpc_health_v1.HealthCheckResponse_NOT_SERVING
}

// healthDoor is gRPC's health service on one port. Its calls are taken in with bounds of their own, see strangers.
type healthDoor struct {
	source    *health.Server
	strangers *strangers
	closing   context.Context // ends watchers
}

func (d *healthDoor) register(on *grpc.Server) {
	service := &grpc.ServiceDesc{
		ServiceName: grpc_health_v1.Health_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Metadata:    grpc_health_v1.Health_ServiceDesc.Metadata,
	}
	for name, handler := range map[string]grpc.StreamHandler{
		"Check": question(d.source.Check),
		"List":  question(d.source.List),
		"Watch": d.watch,
	} {
		service.Streams = append(service.Streams, grpc.StreamDesc{StreamName: name, Handler: handler, ServerStreams: true})
	}
	on.RegisterService(service, d)
}

// question serves a method of one short message and one answer.
func question[In, Out any](answer func(context.Context, *In) (*Out, error)) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		message := new(In)
		if _, err := receiveShort(stream.Context(), longestQuestion, any(message).(proto.Message)); err != nil {
			return broken(stream.Context(), err)
		}
		reply, err := answer(stream.Context(), message)
		if err != nil {
			return err
		}
		return stream.SendMsg(reply)
	}
}

// watch serves a Watch, which ends when the door closes; its last word is how things stand then.
func (d *healthDoor) watch(_ any, stream grpc.ServerStream) error {
	message := new(grpc_health_v1.HealthCheckRequest)
	length, err := receiveShort(stream.Context(), longestQuestion, message)
	if err != nil {
		return broken(stream.Context(), err)
	}
	call := intake.Of(stream.Context())
	call.Whole(length) // nobody reads on
	told := &tellingStream{ServerStream: stream}
	err = d.source.Watch(message, &grpc.GenericServerStream[
		grpc_health_v1.HealthCheckRequest, grpc_health_v1.HealthCheckResponse,
	]{ServerStream: told})
	if why := call.Why(); why != nil {
		return why.Status()
	}
	if d.closing.Err() == nil {
		return err
	}
	if last, err := d.source.Check(context.Background(), message); err == nil && last.Status != told.last {
		return stream.SendMsg(last)
	}
	return nil
}

// tellingStream knows what it told last.
type tellingStream struct {
	grpc.ServerStream
	last grpc_health_v1.HealthCheckResponse_ServingStatus
}

func (s *tellingStream) SendMsg(message any) error {
	if answer, is := message.(*grpc_health_v1.HealthCheckResponse); is {
		s.last = answer.Status
	}
	return s.ServerStream.SendMsg(message)
}

// guardStream lets health in without a key, and nothing else that a library serves; own methods look after themselves.
func (s *Server) guardStream(service any, stream grpc.ServerStream, about *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	call := intake.Of(stream.Context())
	call.Begin()
	defer call.End()
	if strings.HasPrefix(about.FullMethod, healthPrefix) {
		return s.door.guard(service, stream, handle)
	}
	if own(about.FullMethod) {
		return handle(service, stream)
	}
	ctx, cancel := until(s.closing, stream.Context())
	defer cancel()
	headers, _ := metadata.FromIncomingContext(ctx)
	if refused := s.guard.Admit(security.Authorization(headers.Get(authorizationKey))); refused != nil {
		_ = stream.SetHeader(metadata.Pairs(requestIDKey, telemetry.NewRequestID()))
		return refused.Status()
	}
	call.Welcome()
	return handle(service, &libraryStream{ServerStream: stream, ctx: ctx, call: call})
}

// own is whether a method is answered here and not by a library; one that is not there is.
func own(method string) bool { return !strings.HasPrefix(method, "/grpc.reflection.") }

// guard bounds what those without a key have open.
func (d *healthDoor) guard(service any, stream grpc.ServerStream, handle grpc.StreamHandler) error {
	ctx, cancel := until(d.closing, stream.Context())
	defer cancel()
	leave, entered := d.strangers.enter(ctx)
	if !entered {
		return tooMany()
	}
	defer leave()
	return handle(service, &healthStream{ServerStream: stream, ctx: ctx})
}

// healthStream ends with its door.
type healthStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *healthStream) Context() context.Context { return s.ctx }

// until ends a library's streams, which may last as long as their callers like, with the door they came through.
func until(closing, ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(closing, cancel)
	return ctx, func() {
		unhook()
		cancel()
	}
}
