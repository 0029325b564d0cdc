package telemetry

import "sync/atomic"

// lazily is a series that is there once it has something to tell. Two makers at once are no harm: a vector gives both
// the same series.
type lazily[T any] struct {
	kept atomic.Pointer[T]
}

func (l *lazily[T]) made() (series T, there bool) {
	if kept := l.kept.Load(); kept != nil {
		return *kept, true
	}
	return series, false
}

func (l *lazily[T]) keep(series T) T {
	l.kept.Store(&series)
	return series
}
