package device

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/grpc/mem"

	"accelform/front/worker"
)

// quick is how long an image may take for the next call to be sent ahead of its turn. Sending ahead saves the worker the
// way to the socket and back, but a call that is cancelled then still runs.
const quick = 5 * time.Millisecond

// flight is a frame that the worker has not answered yet.
type flight struct {
	task  *task
	since time.Time // when it became the first one
}

// line is the order in which one process computes: calls wait, and after each image the next call has its turn. Where
// they come from several addresses, those take turns: the next is the one whose first call has waited longest since it
// came and since its address had a turn. So nobody waits for all that another one has sent. The caller holds the
// resident's lock.
type line struct {
	waiting []*task                 // in order of arrival
	count   uint64                  // of arrivals and turns
	turns   map[netip.Prefix]uint64 // the last turn of each address that waits, and of some that do not
	flights []*flight
	drops   []uint64
	pace    time.Duration // of one image, smoothed
}

// put adds a task at the end.
func (l *line) put(t *task) {
	l.count++
	t.waiting, t.since = true, l.count
	l.waiting = append(l.waiting, t)
}

// putBack adds a task in front.
func (l *line) putBack(t *task) {
	t.waiting, t.since = true, 0
	l.waiting = slices.Insert(l.waiting, 0, t)
}

// first is the place in the line of the call whose turn is next; there is one.
func (l *line) first() int {
	best, least := 0, l.since(l.waiting[0])
	for index, t := range l.waiting {
		if index > 0 && t.since >= least {
			break
		}
		if since := l.since(t); since < least {
			best, least = index, since
		}
	}
	return best
}

func (l *line) since(t *task) uint64 { return max(t.since, l.turns[t.call.From]) }

// yielding is the call that gives up its place in a full line to one from there: the newest of the address that has
// most, if that is more than the newcomer's would then have. nil: there is none.
func (l *line) yielding(newcomer netip.Prefix) *task {
	held := map[netip.Prefix]int{}
	for _, t := range l.waiting {
		held[t.call.From]++
	}
	var found *task
	for _, t := range slices.Backward(l.waiting) {
		more := found == nil && held[t.call.From] > held[newcomer]+1 || found != nil && held[t.call.From] > held[found.call.From]
		if more && t.asked == 0 && !t.over {
			found = t
		}
	}
	return found
}

// take is the task that the worker gets next; nil: none now.
func (l *line) take() *task {
	depth := 1
	if l.pace > 0 && l.pace < quick {
		depth = 2
	}
	for len(l.waiting) > 0 {
		at := l.first()
		t := l.waiting[at]
		if !t.next() {
			l.remove(at)
			continue
		}
		if len(l.flights) >= depth || l.exclusive(t) {
			return nil
		}
		l.remove(at)
		return t
	}
	return nil
}

// exclusive: while an answer is being certified the worker listens on its socket for the caller's leaving, so that
// nothing else may stand there.
func (l *line) exclusive(next *task) bool {
	return len(l.flights) > 0 && (next.call.Certified || l.flights[0].task.call.Certified)
}

// remove takes a task out of its place.
func (l *line) remove(at int) {
	t := l.waiting[at]
	t.waiting = false
	if at == 0 {
		l.waiting[0], l.waiting = nil, l.waiting[1:]
	} else {
		l.waiting = slices.Delete(l.waiting, at, at+1)
	}
}

// sent notes that the worker gets a frame for `t`.
func (l *line) sent(t *task, now time.Time) {
	t.asked++
	l.turn(t.call.From)
	if t.asked == 1 {
		t.begun = now
	}
	f := &flight{task: t}
	if len(l.flights) == 0 {
		f.since = now
	}
	l.flights = append(l.flights, f)
	if t.asked < t.total { // its next image may follow once the others have had their turn
		l.put(t)
	}
}

// turn notes that an address has one. Who does not wait needs no note: what comes later counts from when it comes.
func (l *line) turn(from netip.Prefix) {
	if l.turns == nil || len(l.turns) > 2*len(l.waiting)+8 {
		kept := map[netip.Prefix]uint64{}
		for _, t := range l.waiting {
			if last := l.turns[t.call.From]; last > 0 {
				kept[t.call.From] = last
			}
		}
		l.turns = kept
	}
	l.count++
	l.turns[from] = l.count
}

// answered takes the first flight, which the worker's answer belongs to.
func (l *line) answered(id uint64, now time.Time) (*task, error) {
	if len(l.flights) == 0 || l.flights[0].task.id != id {
		return nil, fmt.Errorf("the worker answered call %d, which was not its turn", id)
	}
	first := l.flights[0]
	l.flights = l.flights[1:]
	if len(l.flights) > 0 {
		l.flights[0].since = now
	}
	took := now.Sub(first.since)
	if l.pace == 0 {
		l.pace = took
	}
	l.pace += (took - l.pace) / 8
	return first.task, nil
}

// leave takes out a task that nobody waits for.
func (l *line) leave(t *task) {
	if t.waiting {
		l.remove(slices.Index(l.waiting, t))
	}
	if t.asked > 0 {
		l.drops = append(l.drops, t.id)
	}
}

// lost is called when the process is gone; `begun` is whether it may have begun with what it was sent last. It returns the
// task that was being computed, if any; the others wait again, from their start.
func (l *line) lost(begun bool) *task {
	flights := l.flights
	l.flights, l.drops, l.pace, l.turns = nil, nil, 0, nil
	for _, t := range l.waiting {
		t.asked, t.total = 0, 0
	}
	if len(flights) == 0 {
		return nil
	}
	var current *task
	if begun {
		current = flights[0].task
	}
	for index := len(flights) - 1; index >= 0; index-- {
		if t := flights[index].task; !t.over && t != current && !t.waiting {
			t.asked, t.total = 0, 0
			l.putBack(t)
		}
	}
	if current == nil {
		return nil
	}
	current.asked = 0
	l.leave(current)
	return current
}

// settle gives the caller the outcome, the first one only; the caller of settle holds the lock.
func (t *task) settle(result outcome) {
	if t.over {
		if result.answer != nil {
			result.answer.Body.Free()
		}
		return
	}
	t.over = true
	t.settled <- result
}

// message is the frame for the task's next image.
func (t *task) message(now time.Time) (worker.Kind, any, mem.BufferSlice) {
	if t.asked > 0 {
		return worker.Continue, nil, nil
	}
	return worker.Run, t.runMeta(now), t.call.Message
}
