// Package telemetry is what the service tells its operator: log lines, metrics, traces.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pendingLines and pendingBytes (of lines that were given as text) may wait to be written; what comes beyond is lost.
	pendingLines = 1024
	pendingBytes = 4 << 20
	// flushPatience is how long Flush waits for a line to be written that the log's reader may never take.
	flushPatience = time.Second
)

// Log writes events, one JSON object a line; values go through JSON, so that no field can forge a line.
//
// Nobody who has a line waits for whoever reads the log: a reader that stops would otherwise stop calls, restarts and the
// end of the program. Lines are written by a goroutine of their own; those for which there is no room are counted, and
// a line tells how many they were once the reader goes on.
type Log struct {
	lost atomic.Uint64 // lines, since the start

	mu      sync.Mutex
	more    sync.Cond // of waiting
	waiting []line
	bytes   int           // of text in waiting
	full    uint64        // lines that found no room since waiting was last taken
	given   uint64        // lines that were ever put into waiting
	written uint64        // those of them that are written, or lost
	wrote   chan struct{} // closed when written grows
}

// line is an event, or one line of text as somebody else wrote it.
type line struct {
	event slog.Record
	text  []byte
}

// NewLog writes to `to`. Lines have the form of the worker's (accelform_runtime/worker/logs.py).
func NewLog(to io.Writer) *Log {
	log := &Log{wrote: make(chan struct{})}
	log.more.L = &log.mu
	go log.drain(&lines{to: to, lost: &log.lost})
	return log
}

// Write is one line: the time in UTC, the event, and its fields as alternating names and values.
func (l *Log) Write(event string, fields ...any) { l.put(line{event: record(event, fields)}) }

// Forward is one line of another process, as it is; the log keeps it.
func (l *Log) Forward(text []byte) { l.put(line{text: text}) }

// Lose counts lines that were lost before they came here; the log tells of them.
func (l *Log) Lose(count uint64) {
	if count == 0 {
		return
	}
	l.lost.Add(count)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full += count
	l.more.Signal()
}

// Lost is how many lines nobody will read.
func (l *Log) Lost() uint64 { return l.lost.Load() }

// Flush returns once every line so far is written, or when nothing could be written for a while.
func (l *Log) Flush() {
	l.mu.Lock()
	given := l.given
	l.mu.Unlock()
	for {
		l.mu.Lock()
		done, wrote := l.written >= given, l.wrote
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-wrote:
		case <-time.After(flushPatience):
			return
		}
	}
}

func (l *Log) put(next line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= pendingLines || l.bytes+len(next.text) > pendingBytes {
		l.full++
		l.lost.Add(1)
		return
	}
	l.waiting = append(l.waiting, next)
	l.bytes += len(next.text)
	l.given++
	l.more.Signal()
}

// take waits for lines, and gives them with the number of those that were lost after them.
func (l *Log) take(reuse []line) ([]line, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) == 0 && l.full == 0 {
		l.more.Wait()
	}
	taken, full := l.waiting, l.full
	l.waiting, l.bytes, l.full = reuse, 0, 0
	return taken, full
}

func (l *Log) drain(to *lines) {
	handler := slog.NewJSONHandler(to, &slog.HandlerOptions{ReplaceAttr: inOurForm})
	told := func(event slog.Record) { _ = handler.Handle(context.Background(), event) }
	var taken []line
	for {
		var full uint64
		clear(taken)
		taken, full = l.take(taken[:0])
		to.tell(told)
		for _, each := range taken {
			if each.text != nil {
				_, _ = to.Write(each.text)
			} else {
				told(each.event)
			}
		}
		to.untold += full
		to.tell(told)
		to.send()
		l.mu.Lock()
		l.written += uint64(len(taken))
		close(l.wrote)
		l.wrote = make(chan struct{})
		l.mu.Unlock()
	}
}

func inOurForm(groups []string, attr slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return attr
	}
	switch attr.Key {
	case slog.TimeKey:
		return slog.String("time", attr.Value.Time().UTC().Format("2006-01-02T15:04:05.000-07:00"))
	case slog.LevelKey:
		return slog.Attr{}
	case slog.MessageKey:
		return slog.String("event", attr.Value.String())
	}
	return attr
}

func record(event string, fields []any) slog.Record {
	made := slog.NewRecord(time.Now(), slog.LevelInfo, event, 0)
	made.Add(fields...)
	return made
}

// Milliseconds rounds a duration to what a log line shows.
func Milliseconds(took time.Duration) float64 {
	return float64(took.Microseconds()) / 1000
}
