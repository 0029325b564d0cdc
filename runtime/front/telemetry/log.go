// Package telemetry is what the service tells its operator: log lines, metrics, traces.
package telemetry

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// pending is how many lines may wait to be written; with more, whoever has another one waits too.
const pending = 1024

// Log writes events, one JSON object a line; values go through JSON, so that no field can forge a line.
type Log struct {
	handler slog.Handler
	to      io.Writer
	writer  *bufio.Writer
	writing sync.Mutex // handler and writer
	lines   chan slog.Record

	counting sync.Mutex
	more     *sync.Cond // of written
	given    uint64     // lines that Later was given
	written  uint64     // those of them that are written
}

// NewLog writes to `to`. Lines have the form of the worker's (accelform_runtime/worker/logs.py).
func NewLog(to io.Writer) *Log {
	options := &slog.HandlerOptions{ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
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
	}}
	writer := bufio.NewWriter(to)
	log := &Log{
		handler: slog.NewJSONHandler(wholeLines{writer}, options),
		to:      to,
		writer:  writer,
		lines:   make(chan slog.Record, pending),
	}
	log.more = sync.NewCond(&log.counting)
	go log.drain()
	return log
}

// Write is one line: the time in UTC, the event, and its fields as alternating names and values.
func (l *Log) Write(event string, fields ...any) {
	l.Flush() // lines stay in order
	l.writing.Lock()
	defer l.writing.Unlock()
	l.put(record(event, fields))
	l.send()
}

// Later is Write for a line that nobody waits for: a caller's reply is on its way before the line of its call is.
func (l *Log) Later(event string, fields ...any) {
	l.counting.Lock()
	l.given++
	l.counting.Unlock()
	l.lines <- record(event, fields)
}

// Flush returns once every line so far is written, whatever comes meanwhile.
func (l *Log) Flush() {
	l.counting.Lock()
	defer l.counting.Unlock()
	for given := l.given; l.written < given; {
		l.more.Wait()
	}
}

func (l *Log) wrote(lines uint64) {
	l.counting.Lock()
	defer l.counting.Unlock()
	l.written += lines
	l.more.Broadcast()
}

func (l *Log) drain() {
	for line := range l.lines {
		l.writing.Lock()
		l.put(line)
		count := uint64(1)
		for waiting := len(l.lines); waiting > 0; waiting-- { // what came meanwhile goes out with the same write
			l.put(<-l.lines)
			count++
		}
		l.send()
		l.writing.Unlock()
		l.wrote(count)
	}
}

// wholeLines never splits a line over two writes, since the model's process writes its lines to the same place.
type wholeLines struct{ *bufio.Writer }

// Write gets one whole line.
func (w wholeLines) Write(line []byte) (int, error) {
	if len(line) > w.Available() {
		if err := w.Flush(); err != nil {
			return 0, err
		}
	}
	return w.Writer.Write(line)
}

func (l *Log) put(line slog.Record) { _ = l.handler.Handle(context.Background(), line) }

// send writes what was put. Where the log cannot be written the lines are lost and the service goes on: the next ones are
// tried again, which a buffered writer alone would not do after its first error.
func (l *Log) send() {
	if l.writer.Flush() != nil {
		l.writer.Reset(l.to)
	}
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
