package device

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/grpc/mem"

	"accelform/front/refusal"
	"accelform/front/telemetry"
	"accelform/front/worker"
)

// Call is one question for the resident model.
type Call struct {
	// Method is Predict, Classify, Regress, MultiInference, or rest.predict, rest.classify, rest.regress.
	Method string
	// Message is the serialised request; it is freed once the call is settled.
	Message mem.BufferSlice
	// Spec names the model where the message does not.
	Spec *worker.Spec
	// Certified asks for an answer that is known to equal the number format's definition.
	Certified bool
	// From is whom the call counts for when turns are shared out.
	From    netip.Prefix
	Arrived time.Time
	// Waiting is called once when the answer takes its time, by the goroutine that scores; nil: nobody wants to know.
	Waiting func()
}

// Answer is a call's reply, whose buffers the receiver frees.
type Answer struct {
	Body mem.BufferSlice
	worker.DoneMeta
	// Queued is how long the call waited for its turn.
	Queued time.Duration
}

// Observe adds to a call's metrics what only the device knows.
func (a *Answer) Observe(seen *telemetry.Call) {
	seen.Queued, seen.Images = a.Queued, a.Images
	seen.ModelledLatencyMs = a.Modelled.LatencyMs
	seen.ModelledQueueMs = a.Modelled.QueueMs
	seen.ModelledOccupancyMs = a.Modelled.OccupancyMs
}

// margin is what a caller's deadline is shortened by, at most.
const margin = 5 * time.Millisecond

type outcome struct {
	answer  *Answer
	refused *refusal.Refusal
}

// task is a call on its way through the line. All fields below `settled` belong to the resident's lock.
type task struct {
	id       uint64
	call     Call
	deadline time.Time
	settled  chan outcome // of size 1: it is written once

	over    bool // nobody waits any more
	begun   time.Time
	asked   int // frames that the worker has got for it
	total   int // images; 0 while unknown
	waiting bool
	since   uint64 // when it got its place in the line, by the line's count
}

// next tells whether the worker can be given a frame for the task now.
func (t *task) next() bool {
	return !t.over && (t.asked == 0 || t.asked < t.total)
}

func (t *task) runMeta(now time.Time) worker.RunMeta {
	meta := worker.RunMeta{
		Method:    t.call.Method,
		WaitedMs:  milliseconds(now.Sub(t.call.Arrived)),
		Certified: t.call.Certified,
		Spec:      t.call.Spec,
	}
	if !t.deadline.IsZero() {
		left := milliseconds(t.deadline.Sub(now))
		meta.LeftMs = &left
	}
	return meta
}

func milliseconds(took time.Duration) float64 { return float64(took) / float64(time.Millisecond) }

// earliest is when an answer has to be there: a moment before the caller's own deadline, so that the caller learns why
// there is none. At the deadline itself gRPC takes the stream away, and what the caller then sees is up to its clock.
func earliest(ctx context.Context, now, limit time.Time) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return limit
	}
	deadline = deadline.Add(-min(margin, deadline.Sub(now)/50))
	if deadline.Before(limit) {
		return deadline
	}
	return limit
}
