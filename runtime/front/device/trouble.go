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
