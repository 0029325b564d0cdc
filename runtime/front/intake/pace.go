package intake

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// frameUnits is what a frame costs, droppedUnits one of a message that nobody waits for any more: a peer may still
	// send those when it was refused in the midst of them.
	frameUnits   = 4
	droppedUnits = 1
	// A connection costs what the front does for it, and so does a request over HTTP that was refused.
	connectionUnits = 8 * frameUnits
	requestUnits    = 2 * frameUnits
	// paceUnits is what all connections of an address have for each second, and at most at once: 1000 frames. Each has
	// ownUnits besides, so that peers who share an address with one that floods go on.
	paceUnits = 1000 * frameUnits
	ownUnits  = 100 * frameUnits
	// answerUnits is what a call earns that did its work: its headers, and what a client says besides.
	answerUnits = 8 * frameUnits
	// bytesOfUnit sent earn a unit: their receiver opens its window for them.
	bytesOfUnit = 4 << 10
	// bytesOfUselessUnit of a message that was refused for what it is cost a unit more, up to a quarter of a second in all:
	// a caller whose picture is broken now and then is not slowed.
	bytesOfUselessUnit = 1 << 10
	mostUselessUnits   = paceUnits / 4
	// nap is how long a reader waits at a time.
	nap = 20 * time.Millisecond
)

// pace slows a connection whose frames do no work, such as calls that are refused or taken back, so that the processors
// are left to the calls of others. Calls that are answered earn what they cost, however many they are.
type pace struct {
	purse  *purse
	earned atomic.Int64

	// The reader's own.
	left int64
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
	p.left += p.earned.Swap(0) + min(grown(ownUnits, p.seen, moment), ownUnits)
	p.seen = moment
	if p.left >= 0 {
		p.left = min(p.left, paceUnits)
		return 0
	}
	missing := -p.left
	p.left = 0
	return p.purse.spend(missing, moment)
}

// purse is what the connections of an address share.
type purse struct {
	mutex sync.Mutex
	left  int64 // below zero: to be waited for
	seen  time.Time
}

// spend returns how long to wait, a second at most.
func (p *purse) spend(units int64, moment time.Time) time.Duration {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.seen.IsZero() {
		p.left = paceUnits
	}
	p.left = min(p.left+grown(paceUnits, p.seen, moment), paceUnits)
	p.seen = moment
	p.left = max(p.left-units, -paceUnits)
	if wait := time.Duration(-p.left) * time.Second / paceUnits; wait >= nap {
		return wait
	}
	return 0
}

func (p *purse) full(now time.Time) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.seen.IsZero() || p.left+grown(paceUnits, p.seen, now) >= paceUnits
}

// grown is what comes of so many units a second since then, of two seconds at most.
func grown(units int64, since, now time.Time) int64 {
	if since.IsZero() {
		return 0
	}
	return int64(max(0, min(now.Sub(since), 2*time.Second)) * time.Duration(units) / time.Second)
}
