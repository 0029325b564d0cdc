package telemetry

import (
	"bytes"
	"io"
	"log/slog"
	"sync/atomic"
)

// writtenAtOnce is about what a write has; a longer line has one of its own.
const writtenAtOnce = 4096

// lines gathers whole lines and writes them together. Where they cannot be written, say on a full disk, they are lost
// and the next ones are tried again.
type lines struct {
	to      io.Writer
	lost    *atomic.Uint64
	buffer  []byte
	telling uint64 // lost lines that the one in the buffer tells of; 0: it holds ordinary ones
	untold  uint64 // lost lines that no line has told of
	torn    bool   // the last write ended within a line
}

// Write gets one whole line.
func (w *lines) Write(line []byte) (int, error) {
	if len(w.buffer) > 0 && len(w.buffer)+len(line) > writtenAtOnce {
		w.send()
	}
	w.buffer = append(w.buffer, line...)
	return len(line), nil
}

// tell writes a line about lines that were lost, if any were.
func (w *lines) tell(put func(slog.Record)) {
	if w.untold == 0 {
		return
	}
	w.send()
	w.telling, w.untold = w.untold, 0
	put(record("log", []any{"state", "lost", "lines", w.telling}))
	w.send()
}

// send writes what was gathered.
func (w *lines) send() {
	if len(w.buffer) == 0 {
		return
	}
	whole := w.buffer
	if w.torn { // what was left of a line stands alone
		whole = append([]byte{'\n'}, whole...)
	}
	count, err := w.to.Write(whole)
	if count > 0 {
		w.torn = whole[count-1] != '\n'
	}
	if err != nil && w.telling > 0 {
		w.untold += w.telling
	} else if err != nil {
		missing := uint64(bytes.Count(whole[count:], []byte{'\n'}))
		w.untold += missing
		w.lost.Add(missing)
	}
	w.buffer, w.telling = w.buffer[:0], 0
}
