package device

import (
	"fmt"
	"time"

	"accelform/front/worker"
)

const (
	// pingEvery is how long an idle process may have said nothing before it is asked whether it is there.
	pingEvery = time.Second
	// lookEvery is the time between two looks at a process.
	lookEvery = 500 * time.Millisecond
	// silentAfter is how long a process that owes an answer may show no sign of life before health says NOT_SERVING:
	// with a ping's turn and two looks that is within five seconds of its stopping.
	silentAfter = 2 * time.Second
	// deadAfter is how long it may do so before it is replaced.
	deadAfter = 10 * time.Second
	// leastWork is processor time that shows, between two looks, that a process works: also one that waits for its pages
	// to come from a slow disk has so much, and one whose threads only wake up to go on waiting has not.
	leastWork = 100 * time.Microsecond
)

// pulse tells a process that hangs from one that computes for long, from outside: whoever holds a lock for good, Python's
// own included, can tell nothing himself. A process that works uses processor time, or waits for nothing but a processor.
// One that is stopped, or whose threads all wait for each other, does neither.
type pulse struct {
	cpu    time.Duration
	looked time.Time
	silent time.Duration // for how long it has shown no sign of life
}

// look is taken every lookEvery; `owes` is whether an answer is due that was already due at the last look, and `heard`
// whether something came since.
func (p *pulse) look(process *worker.Process, now time.Time, owes, heard bool) {
	// A front that was itself stopped, or had no processor, has seen nothing meanwhile.
	passed := min(now.Sub(p.looked), 2*lookEvery)
	p.looked = now
	if !owes || heard {
		p.silent = 0
		return
	}
	cpu, known := process.CPU()
	works := cpu-p.cpu >= leastWork
	p.cpu = cpu
	if !known || works || process.Runnable() {
		p.silent = 0
		return
	}
	p.silent += passed
}

// hangs is why the process has to be replaced; empty: it need not be. It also asks an idle process whether it is there,
// and tells when one shows no sign of life.
func (r *resident) hangs(process *worker.Process, seen *pulse, now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	computes := len(r.line.flights) > 0
	if computes && now.Sub(r.line.flights[0].since) > r.hang {
		return "it computed for longer than hang_timeout_ms"
	}
	r.wanted = !computes && !r.pinged && now.Sub(r.heard) >= pingEvery
	if r.wanted {
		r.poke()
	}
	seen.look(process, now, computes || r.pinged, r.heard.After(seen.looked))
	if silent := seen.silent >= silentAfter; silent != r.silent && r.process == process {
		r.silent, r.problem = silent, nil
		state := "answers"
		if silent {
			r.problem, state = hushed, "silent"
		}
		r.log.Write("worker", "state", state, "pid", process.PID())
		r.poke()
		go r.changed() // without the lock
	}
	if seen.silent >= min(deadAfter, r.hang) {
		return fmt.Sprintf("it showed no sign of life for %g s", seen.silent.Round(time.Second).Seconds())
	}
	return ""
}
