package intake

import (
	"testing"
	"time"
)

// waited is how long a connection is held up over so many frames, each of which comes as soon as it may; every one
// earns that much.
func waited(frames, earned int) time.Duration {
	begun := time.Unix(0, 0)
	now := begun
	var p pace
	for range frames {
		p.earn(earned)
		now = now.Add(p.spend(frameUnits, func() time.Time { return now }))
	}
	return now.Sub(begun)
}

// Frames that do no work come a thousand a second after the first thousand; those of answered calls as they like.
func TestPace(t *testing.T) {
	for _, sample := range []struct {
		frames, earned int
		least, most    time.Duration
	}{
		{1000, 0, 0, 0},
		{11_000, 0, 10*time.Second - nap, 10 * time.Second},
		{100_000, answerUnits / 4, 0, 0},
		{11_000, frameUnits / 2, 4 * time.Second, 5 * time.Second},
	} {
		if took := waited(sample.frames, sample.earned); took < sample.least || took > sample.most {
			t.Errorf("%d frames that earn %d each take %v", sample.frames, sample.earned, took)
		}
	}
}

// What was not used for a long time is a second's worth, and no more.
func TestPaceAfterSilence(t *testing.T) {
	now := time.Unix(0, 0)
	var p pace
	clock := func() time.Time { return now }
	for range 1000 {
		p.spend(frameUnits, clock)
	}
	now = now.Add(time.Hour)
	free := 0
	for p.spend(frameUnits, clock) == 0 {
		free++
	}
	if free < 1000 || free > 1000+int(nap*1000/time.Second) {
		t.Errorf("%d frames were free", free)
	}
}

// However much was done for nothing, nobody waits for longer than a second at once.
func TestPaceOfDebts(t *testing.T) {
	var p pace
	p.earn(-100 * paceUnits)
	if wait := p.spend(frameUnits, time.Now); wait != time.Second {
		t.Errorf("the reader waits for %v", wait)
	}
}
