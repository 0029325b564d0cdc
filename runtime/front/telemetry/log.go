// Package telemetry is what the service tells its operator: log lines, metrics, traces.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// Log writes events, one JSON object a line; values go through JSON, so that no field can forge a line.
type Log struct {
	logger *slog.Logger
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
	return &Log{logger: slog.New(slog.NewJSONHandler(to, options))}
}

// Write is one line: the time in UTC, the event, and its fields as alternating names and values.
func (l *Log) Write(event string, fields ...any) {
	l.logger.Log(context.Background(), slog.LevelInfo, event, fields...)
}

// Milliseconds rounds a duration to what a log line shows.
func Milliseconds(took time.Duration) float64 {
	return float64(took.Microseconds()) / 1000
}
