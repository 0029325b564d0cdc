package device

import (
	"sync"
	"time"
)

const (
	// A tick takes a processor from the model for a moment, so that there is none in most calls.
	tickEvery = 50 * time.Millisecond
	// After this many ticks that nobody waited for, the clock stops until somebody does.
	idleTicks = 20
)

// ticks is one clock for all calls. A timer of its own for each call would cost it more than anything else the front
// does: Go's scheduler wakes a thread to look after a new timer.
type ticks struct {
	mu      sync.Mutex
	next    chan struct{}
	asked   bool
	running bool
}

// wait is closed at the next tick.
func (t *ticks) wait() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = true
	if !t.running {
		t.running = true
		t.next = make(chan struct{})
		go t.run()
	}
	return t.next
}

func (t *ticks) run() {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for idle := 0; ; {
		<-ticker.C
		t.mu.Lock()
		if t.asked {
			close(t.next)
			t.next, t.asked, idle = make(chan struct{}), false, 0
		} else if idle++; idle == idleTicks {
			t.running = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
	}
}
