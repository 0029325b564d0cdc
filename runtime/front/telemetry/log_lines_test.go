package telemetry

import (
	"bytes"
	"strings"
	"testing"
)

// writes keeps what each write had.
type writes struct{ had [][]byte }

func (w *writes) Write(data []byte) (int, error) {
	w.had = append(w.had, bytes.Clone(data))
	return len(data), nil
}

// Lines of any length that come together go out in writes of whole lines: another process writes to the same place.
func TestLinesAreNotSplit(t *testing.T) {
	seen := &writes{}
	log := NewLog(seen)
	log.writing.Lock() // so that all of them wait
	for count := range pending {
		log.Later("request", "padding", strings.Repeat("x", count*7%6000))
	}
	log.writing.Unlock()
	log.Flush()
	lines := 0
	for _, had := range seen.had {
		if !bytes.HasSuffix(had, []byte("\n")) || had[0] != '{' {
			t.Fatalf("a write begins %.20q and ends %.20q", had, had[max(0, len(had)-20):])
		}
		lines += bytes.Count(had, []byte("\n"))
	}
	if lines != pending || len(seen.had) >= pending {
		t.Errorf("%d lines in %d writes, of %d", lines, len(seen.had), pending)
	}
}
