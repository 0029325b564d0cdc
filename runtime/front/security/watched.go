package security

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"accelform/front/telemetry"
)

// clockStep is above the step in which file systems count time.
const clockStep = 100 * time.Millisecond

// source is one kind of file and how to read it.
type source[T any] struct {
	kind   string // of Unusable
	what   string // the file in a sentence
	remedy string // what to do about a bad one
	event  string // of the log line that tells of a change
	// parse says what is wrong as the end of a sentence that starts with the file: "is damaged".
	parse func(content []byte) (value T, wrong string)
}

// watched is what a file says, read again when the file changes, and until it can be read. A change that cannot be read
// leaves the last good value in force meanwhile, so that a botched rotation locks nobody out.
type watched[T any] struct {
	source[T]
	path string
	log  *telemetry.Log

	mutex   sync.Mutex
	current atomic.Pointer[reading[T]]
}

// reading is one look into the file; it never changes.
type reading[T any] struct {
	stamp   stamp
	settled bool
	content [sha256.Size]byte // all zeros: the file could not be read
	value   T
	problem *Unusable
	unread  bool // the problem is that it could not be read
}

// watch reads the file for the first time; then it has to be good.
func watch[T any](path string, from source[T], log *telemetry.Log) (*watched[T], error) {
	w := &watched[T]{source: from, path: path, log: log}
	first := w.look(&reading[T]{})
	if first.problem != nil {
		return nil, first.problem
	}
	w.current.Store(first)
	return w, nil
}

// get is the newest good value.
func (w *watched[T]) get() T {
	if seen := w.current.Load(); seen.settled && stampOf(w.path) == seen.stamp {
		return seen.value
	}
	// Whoever comes while the file is read waits for it: a withdrawn key is refused in every check that starts after
	// the change.
	w.mutex.Lock()
	defer w.mutex.Unlock()
	seen := w.current.Load()
	if seen.settled && stampOf(w.path) == seen.stamp {
		return seen.value
	}
	next := w.look(seen)
	w.current.Store(next)
	if next.content != seen.content || text(next.problem) != text(seen.problem) {
		state := "reloaded"
		if next.problem != nil {
			state = "kept"
		}
		w.log.Write(w.event, "problem", text(next.problem), "state", state, "read_again", next.unread)
	}
	return next.value
}

// look reads the file as it is now; a bad one gives the value of `last` and the problem.
func (w *watched[T]) look(last *reading[T]) *reading[T] {
	// The stamp comes before the content: a change in between then shows at the next check.
	found := stampOf(w.path)
	next := &reading[T]{stamp: found, settled: found.settled(time.Now(), clockStep), value: last.value}
	content, _, err := readFile(w.path)
	if err != nil {
		// The reason may pass without a trace in the file, as a lack of descriptors does: it is read again at each check.
		next.settled, next.unread = false, true
		next.problem = unusable(w.kind, err, "cannot read %s %s: %s; %s", w.what, w.path, reason(err), w.remedy)
		return next
	}
	next.content = sha256.Sum256(content)
	if next.content == last.content {
		next.problem = last.problem
		return next
	}
	value, wrong := w.parse(content)
	if wrong != "" {
		next.problem = unusable(w.kind, nil, "%s %s %s; %s", w.what, w.path, wrong, w.remedy)
		return next
	}
	next.value = value
	return next
}

// text is a problem as the log has it; none is empty.
func text(problem *Unusable) string {
	if problem == nil {
		return ""
	}
	return problem.Message
}
