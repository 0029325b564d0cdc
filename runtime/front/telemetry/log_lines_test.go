package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// reader takes what is written to it, once it is let to, and fails as often as it is told to.
type reader struct {
	reads chan struct{} // closed: it reads

	mu    sync.Mutex
	had   [][]byte
	fails int
	takes int // bytes of a write that fails
}

func newReader(reads bool) *reader {
	r := &reader{reads: make(chan struct{})}
	if reads {
		close(r.reads)
	}
	return r
}

func (r *reader) Write(data []byte) (int, error) {
	<-r.reads
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails > 0 {
		r.fails--
		r.had = append(r.had, bytes.Clone(data[:r.takes]))
		return r.takes, errors.New("no space left on device")
	}
	r.had = append(r.had, bytes.Clone(data))
	return len(data), nil
}

func (r *reader) writes() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.had
}

// told are the lines that are JSON: their events, with the number of lines that those of event log tell of.
func (r *reader) told() (events []string, lost int) {
	for _, text := range bytes.Split(bytes.Join(r.writes(), nil), []byte("\n")) {
		var fields struct {
			Event string
			Lines int
		}
		if json.Unmarshal(text, &fields) == nil {
			events, lost = append(events, fields.Event), lost+fields.Lines
		}
	}
	return events, lost
}

// Lines of any length that come together go out in writes of whole lines: a reader that stops has no half of one.
func TestLinesAreNotSplit(t *testing.T) {
	seen := newReader(false)
	log := NewLog(seen)
	for count := range pendingLines {
		log.Write("request", "padding", strings.Repeat("x", count*7%6000))
	}
	close(seen.reads)
	log.Flush()
	lines := 0
	for _, had := range seen.writes() {
		if !bytes.HasSuffix(had, []byte("\n")) || had[0] != '{' {
			t.Fatalf("a write begins %.20q and ends %.20q", had, had[max(0, len(had)-20):])
		}
		lines += bytes.Count(had, []byte("\n"))
	}
	if lines != pendingLines || len(seen.writes()) >= pendingLines {
		t.Errorf("%d lines in %d writes, of %d", lines, len(seen.writes()), pendingLines)
	}
}

// With a reader that stops nobody waits, and once it goes on a line tells what it missed, where that is missing.
func TestAReaderThatStopsStopsNobody(t *testing.T) {
	seen := newReader(false)
	log := NewLog(seen)
	const given = 10 * pendingLines
	for range given {
		log.Write("request", "code", "OK")
		log.Forward([]byte("{\"event\": \"library\"}\n"))
	}
	log.Flush()
	if written := seen.writes(); written != nil {
		t.Fatal("the reader reads")
	}
	lost := int(log.Lost())
	if lost < given {
		t.Fatalf("%d lines are lost", lost)
	}
	close(seen.reads)
	log.Write("stopped")
	log.Flush()
	events, told := seen.told()
	telling := len(slices.DeleteFunc(slices.Clone(events), func(event string) bool { return event != "log" }))
	if told == 0 || told != int(log.Lost()) || len(events)-telling != 2*given+1-told {
		t.Errorf("%d lines came and %d are told of, of which %d are lost", len(events), told, log.Lost())
	}
}

// A line that fits no more, for its bytes, is lost like one of too many.
func TestTextIsBounded(t *testing.T) {
	seen := newReader(false)
	log := NewLog(seen)
	for range pendingLines {
		log.Forward(bytes.Repeat([]byte{'x'}, 1<<18))
	}
	if lost := log.Lost(); lost < pendingLines-3*pendingBytes>>18 {
		t.Errorf("%d lines are lost", lost)
	}
}

// Lines that a disk has no room for are counted and told of; what was left of one does not spoil the next.
func TestLinesThatCannotBeWritten(t *testing.T) {
	for _, takes := range []int{0, 10} {
		seen := newReader(true)
		seen.fails, seen.takes = 3, takes // of the first line, of what tells of it, of the second
		log := NewLog(seen)
		for _, event := range []string{"first", "second", "third", "fourth"} {
			log.Write(event)
			log.Flush()
		}
		events, told := seen.told()
		if told != 2 || log.Lost() != 2 || strings.Join(events, " ") != "log third fourth" {
			t.Errorf("after writes of %d bytes: %v, %d told of, %d lost", takes, events, told, log.Lost())
		}
	}
}

// Lines lost before the log began count with its own.
func TestLinesLostBefore(t *testing.T) {
	seen := newReader(true)
	log := NewLog(seen)
	log.Lose(0)
	log.Lose(3)
	log.Write("listening")
	log.Flush()
	if _, told := seen.told(); told != 3 || log.Lost() != 3 {
		t.Errorf("%d are told of, %d lost", told, log.Lost())
	}
}

// What many goroutines write at once is there in full, each goroutine's in its order.
func TestManyWriters(t *testing.T) {
	log := NewLog(io.Discard)
	var writing sync.WaitGroup
	for range 8 {
		writing.Go(func() {
			for range 100 {
				log.Write("request")
			}
		})
	}
	writing.Wait()
	log.Flush()
	if log.Lost() != 0 {
		t.Errorf("%d lines are lost", log.Lost())
	}
}
