package intake

import (
	"sync/atomic"
	"time"
)

const (
	// frameUnits is what a frame costs its connection, droppedUnits one of a message that nobody waits for any more: a
	// peer may still send those when it was refused in the midst of them.
	frameUnits   = 4
	droppedUnits = 1
	// paceUnits is what a connection has for each second, and at most at once: 1000 frames.
	paceUnits = 1000 * frameUnits
	// answerUnits is what a call earns that did its work: its headers, and what a client says besides.
	answerUnits = 8 * frameUnits
	// bytesOfUnit sent earn a unit: their receiver opens its window for them.
	bytesOfUnit = 4 << 10
	// bytesOfUselessUnit of a message that was refused for what it is cost a unit more, up to a quarter of a second in all:
	// a caller whose picture is broken now and then is not slowed.
	bytesOfUselessUnit = 1 << 10
	mostUselessUnits   = paceUnits / 4
	// nap is how long the reader waits at a time.
	nap = 20 * time.Millisecond
)

// pace slows a connection whose frames do no work, such as calls that are refused or taken back, so that the processors
// are left to the calls of others. Calls that are answered earn what they cost, however many they are.
type pace struct {
	earned atomic.Int64

	// The reader's own.
	left int64 // below zero: to be waited for
	seen time.Time
}

// earn is for what does work; from any goroutine.
func (p *pace) earn(units int) { p.earned.Add(int64(units)) }

// spend counts a frame and returns how long its reader has to wait.
func (p *pace) spend(units int64, now func() time.Time) time.Duration {
	if p.left -= units; p.left >= 0 {
		return 0
	}
	moment := now()
	p.left += p.earned.Swap(0)
	if p.seen.IsZero() {
		p.left += paceUnits
	} else {
		p.left += int64(min(moment.Sub(p.seen), time.Second) * paceUnits / time.Second)
	}
	p.seen, p.left = moment, max(min(p.left, paceUnits), -paceUnits) // never longer than a second
	if wait := time.Duration(-p.left) * time.Second / paceUnits; wait >= nap {
		return wait
	}
	return 0
}
