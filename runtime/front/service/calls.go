package service

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"accelform/front/intake"
	"accelform/front/refusal"
	"accelform/front/security"
	"accelform/front/telemetry"
)

const (
	authorizationKey = "authorization"
	requestIDKey     = "request_id"
	clientIDKey      = "x-request-id"
	measuredKey      = "x-accelform-measured-ms"
	// retryKey is gRPC's own hint: clients with a retry policy wait that long.
	retryKey = "grpc-retry-pushback-ms"
)

// call is one unary call of the API under way.
type call struct {
	ctx       context.Context
	stream    grpc.ServerStream
	intake    *intake.Call
	method    string
	requestID string
	arrived   time.Time
	headers   metadata.MD
	observed  telemetry.Call
	fields    []any
}

// answerer makes the reply to a call's message; it frees the message.
type answerer func(c *call, message *frame) (any, *refusal.Refusal)

// unary serves a method that takes one message and gives one. It is registered as a stream, which is the same on the
// wire, to look at a call's key before any of its message is taken in; that message has at most `longest` bytes.
func (s *Server) unary(method string, longest int, answer answerer) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		ctx := stream.Context()
		headers, _ := metadata.FromIncomingContext(ctx)
		c := &call{
			ctx: ctx, stream: stream, intake: intake.Of(ctx), method: method, requestID: telemetry.NewRequestID(),
			arrived: time.Now(), headers: headers,
		}
		c.observed = telemetry.Call{Protocol: "grpc", Method: method}
		s.inFlight.Add(1)
		defer s.inFlight.Add(-1)
		refused := s.answer(c, longest, answer)
		return s.finish(c, refused)
	}
}

func (s *Server) answer(c *call, longest int, answer answerer) *refusal.Refusal {
	if err := c.stream.SetHeader(metadata.Pairs(requestIDKey, c.requestID)); err != nil {
		return c.gone(err)
	}
	if refused := s.guard.Admit(security.Authorization(c.headers.Get(authorizationKey))); refused != nil {
		return refused
	}
	c.intake.Welcome()
	message, err := c.receive(longest)
	if err != nil {
		return c.gone(err)
	}
	c.observed.RequestBytes = message.data.Len()
	reply, refused := answer(c, message)
	if refused != nil {
		return refused
	}
	if raw, ok := reply.(*frame); ok {
		c.observed.ReplyBytes = raw.data.Len()
	}
	c.stream.SetTrailer(metadata.Pairs(measuredKey, strconv.FormatFloat(sinceMs(c.arrived), 'f', 3, 64)))
	if err := c.stream.SendMsg(reply); err != nil {
		return c.gone(err)
	}
	return nil
}

// receive takes in the one message of a call.
func (c *call) receive(longest int) (*frame, error) {
	if longest == 0 {
		return &frame{}, nil
	}
	data, err := receive(c.ctx, longest)
	if err == nil {
		err = ended(c.ctx)
	}
	if err != nil {
		data.Free()
		return nil, err
	}
	c.intake.Arrived()
	return &frame{data}, nil
}

// unknown answers methods that there are not, to those who may call at all; their messages are not looked at.
func unknown(c *call, _ *frame) (any, *refusal.Refusal) {
	name, _ := grpc.MethodFromServerStream(c.stream)
	return nil, refusal.New(codes.Unimplemented, "there is no method %s here; server reflection lists those there are", name)
}

// finish tells log and metrics, and gives the call its status.
func (s *Server) finish(c *call, refused *refusal.Refusal) error {
	code := codes.OK
	if refused != nil {
		code = refused.Code
	}
	switch {
	case refused == nil, code == codes.Unavailable:
		c.intake.Useful()
	case refused.RetryAfter > 0: // costs what its frames do: a caller who tries again at once is read no faster
	case code == codes.InvalidArgument, code == codes.ResourceExhausted:
		c.intake.Useless()
	}
	c.observed.Code, c.observed.Took = telemetry.CodeName(code), time.Since(c.arrived)
	s.metrics.Observe(c.observed)
	if s.settings.AccessLog {
		s.log.Write("request", append([]any{
			"request_id", c.requestID, "method", c.method, "code", c.observed.Code, "ms", sinceMs(c.arrived),
		}, s.logged(c, refused)...)...)
	}
	if refused == nil {
		return nil
	}
	answer := status.New(refused.Code, refused.Message)
	if refused.RetryAfter > 0 {
		c.stream.SetTrailer(metadata.Pairs(retryKey, strconv.FormatInt(refused.RetryAfter.Milliseconds()+1, 10)))
		detailed, err := answer.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(refused.RetryAfter)})
		if err == nil {
			answer = detailed
		}
	}
	return answer.Err()
}

func (s *Server) logged(c *call, refused *refusal.Refusal) []any {
	fields := c.fields
	if client := telemetry.ClientID(c.headers.Get(clientIDKey)); client != "" {
		fields = append(fields, "client_request_id", client)
	}
	if refused != nil {
		detail := refused.Message
		if refused.Detail != "" {
			detail = refused.Detail
		}
		fields = append(fields, "detail", detail)
	}
	return fields
}

// gone is why a call's message or reply did not get through. What gRPC says of a stream that its caller took back
// depends on how far it was, and may read as a fault of ours.
func (c *call) gone(err error) *refusal.Refusal {
	if why := c.intake.Why(); why != nil {
		return why
	}
	told := status.Convert(broken(c.ctx, err))
	return &refusal.Refusal{Code: told.Code(), Message: told.Message()}
}

func sinceMs(moment time.Time) float64 { return telemetry.Milliseconds(time.Since(moment)) }
