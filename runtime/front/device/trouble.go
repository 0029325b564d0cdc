package device

import (
	"errors"

	"google.golang.org/grpc/codes"

	"accelform/front/refusal"
	"accelform/front/worker"
)

// stuckAfter is how many restarts in a row may fail before whoever runs the service should start all of it anew. With
// the waits between them they take half a minute at least.
const stuckAfter = 8

// hushed is what is told of a resident whose process shows no sign of life.
var hushed = refusal.New(codes.Unavailable, "the model's process shows no sign of life; unless it does, it is started anew")

// serves is whether there is a process, and it is alive.
func (r *resident) serves() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process != nil && !r.silent
}

// gone keeps calls that come from now on out of the hands of a process whose end is not known yet: they wait.
func (r *resident) gone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process, r.problem = nil, trouble(nil)
}

func (r *resident) trouble() *refusal.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problem
}

func (r *resident) stuck() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed >= stuckAfter
}

// overdue is whether a model was not loaded in its time, which is long: one such restart says as much as many.
func overdue(err error) bool {
	var refused *refusal.Refusal
	return errors.As(err, &refused) && refused.Code == codes.DeadlineExceeded
}

// trouble is what callers are told of a resident that has no process; err is why it could not be started again, nil
// before the first try. Paths and the like stay in the log.
func trouble(err error) *refusal.Refusal {
	const anew = "the model's process is being started anew"
	if err == nil {
		return refusal.New(codes.Unavailable, anew)
	}
	why := "its process ended before the model was loaded"
	var known *refusal.Refusal
	var failed *worker.LoadFailed
	switch {
	case errors.As(err, &known):
		why = known.Message
	case errors.As(err, &failed):
		why = "the model cannot be served (" + failed.Kind + ")"
	}
	return refusal.New(codes.Unavailable, "%s; the last try failed: %s; the service's log tells more", anew, why)
}
