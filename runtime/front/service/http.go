package service

import (
	"context"

	"google.golang.org/grpc/mem"

	"accelform/front/device"
	"accelform/front/refusal"
	"accelform/front/rest"
	"accelform/front/worker"
)

// ScoreHTTP hands a JSON request of the HTTP side door to the resident model.
func (s *Server) ScoreHTTP(ctx context.Context, call rest.RestCall) ([]byte, [][2]string, *refusal.Refusal) {
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	answer, refused := s.device.Score(ctx, device.Call{
		Method:    call.Method,
		Message:   mem.BufferSlice{mem.SliceBuffer(call.Body)},
		Spec:      &worker.Spec{Name: call.Spec.Name, Version: call.Spec.Version, Label: call.Spec.Label},
		Certified: call.Certified,
		From:      call.From,
		Arrived:   call.Arrived,
	})
	if refused != nil {
		return nil, nil, refused
	}
	defer answer.Body.Free()
	answer.Observe(call.Seen)
	s.traces.Describe(ctx, *call.Seen)
	for name, value := range answer.Log {
		*call.Logged = append(*call.Logged, name, value)
	}
	return answer.Body.Materialize(), answer.Trailing, nil
}
