package telemetry

import (
	"sync"
	"time"
)

const reportEvery = time.Minute

// reporter is told of spans that could not be sent. A collector that is away fails every few seconds, for hours.
type reporter struct {
	log  *Log
	lock sync.Mutex
	last time.Time
	held int
}

// Handle writes one line, or counts for the next one.
func (r *reporter) Handle(err error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	now := time.Now()
	if !r.last.IsZero() && now.Sub(r.last) < reportEvery {
		r.held++
		return
	}
	r.log.Write("traces", "problem", err.Error(), "not_shown", r.held)
	r.last, r.held = now, 0
}
