package device

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"accelform/front/refusal"
)

// patience is how long a caller waits before the call's Waiting tells it something.
const patience = 50 * time.Millisecond

// precise is how near a deadline has to be for a timer of its own.
const precise = time.Second

// limits are the settings that bound a call.
type limits struct {
	queue int           // calls that may wait, besides the one that runs
	wait  time.Duration // for a call's turn; 0: none but the deadline
	total time.Duration // of a call
}

// score puts a call in the line and waits for its outcome, its deadline, or its caller's leaving.
func (r *resident) score(ctx context.Context, id uint64, call Call, l limits) (*Answer, *refusal.Refusal) {
	defer call.Message.Free()
	t := &task{
		id:       id,
		call:     call,
		deadline: earliest(ctx, time.Now(), call.Arrived.Add(l.total)),
		settled:  make(chan outcome, 1),
	}
	if refused := r.enter(t, l); refused != nil {
		return nil, refused
	}
	r.sendNow()
	near := t.near()
	var turn <-chan time.Time
	if l.wait > 0 && r.waits(t) {
		turn = time.After(time.Until(call.Arrived.Add(l.wait)))
	}
	for {
		select {
		case result := <-t.settled:
			return result.answer, result.refused
		case <-ctx.Done():
			if ctx.Err() == context.Canceled && time.Now().Before(t.deadline) {
				return r.leave(t, refusal.New(codes.Canceled, "the caller left"))
			}
			return r.leave(t, tooLate())
		case <-near:
			return r.leave(t, tooLate())
		case <-turn:
			if r.waits(t) {
				return r.leave(t, r.busy("the FPGA was busy for longer than max_request_wait_time_ms; try again later"))
			}
		case <-r.ticks.wait():
			if near == nil {
				near = t.near()
			}
			if call.Waiting != nil && time.Since(call.Arrived) >= patience {
				call.Waiting()
				call.Waiting = nil
			}
		}
	}
}

// near rings at the deadline, once that is near enough for a timer of its own.
func (t *task) near() <-chan time.Time {
	if left := time.Until(t.deadline); left < precise {
		return time.After(left)
	}
	return nil
}

func (r *resident) enter(t *task, l limits) *refusal.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return stopping
	}
	if r.tasks > l.queue {
		full := r.overloaded("%d calls already wait for the FPGA; try again later", l.queue)
		yielding := r.line.yielding(t.call.From)
		if yielding == nil {
			return full
		}
		r.settle(yielding, outcome{refused: full})
		r.line.leave(yielding)
	}
	r.tasks++
	r.line.put(t)
	return nil
}

// leave gives up on a task, unless its outcome came first.
func (r *resident) leave(t *task, refused *refusal.Refusal) (*Answer, *refusal.Refusal) {
	r.mu.Lock()
	r.settle(t, outcome{refused: refused})
	r.line.leave(t)
	r.mu.Unlock()
	r.poke()
	result := <-t.settled
	return result.answer, result.refused
}

func (r *resident) waits(t *task) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !t.over && t.asked == 0
}

func (r *resident) busy(text string) *refusal.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.overloaded("%s", text)
}

// overloaded tells when the line will be shorter by one call.
func (r *resident) overloaded(format string, values ...any) *refusal.Refusal {
	refused := refusal.New(codes.ResourceExhausted, format, values...)
	refused.RetryAfter = max(r.line.pace, time.Millisecond)
	return refused
}

// abandon ends every call with `refused`.
func (r *resident) abandon(refused *refusal.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.line.flights {
		r.settle(f.task, outcome{refused: refused})
	}
	for _, t := range r.line.waiting {
		r.settle(t, outcome{refused: refused})
	}
	r.line.waiting = nil
}

// finish lets no more calls in and returns once none is left.
func (r *resident) finish(ctx context.Context) {
	r.mu.Lock()
	r.closed = true
	if r.tasks == 0 {
		r.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	r.idle = idle
	r.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// end stops the process; calls that are left get `refused`.
func (r *resident) end(refused *refusal.Refusal) {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.abandon(refused)
	r.stop()
	<-r.over
}

func tooLate() *refusal.Refusal {
	return refusal.New(codes.DeadlineExceeded,
		"the call's time was over before its answer was ready; allow more time")
}

// stopping is one value, so that a call can tell that its resident was closed.
var stopping = refusal.New(codes.Unavailable,
	"the service is stopping; ask again, its successor or another replica answers")

// Loading refuses what needs a model while there is none yet.
func Loading() *refusal.Refusal {
	return refusal.New(codes.Unavailable,
		"the model is still loading; ask again when the health check says SERVING")
}
