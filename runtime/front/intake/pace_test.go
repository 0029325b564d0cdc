package intake

import (
	"testing"
	"time"
)

// waited is how long a connection is held up over so many frames, each of which comes as soon as it may; every one
// earns that much.
func waited(frames, earned int) time.Duration {
	begun := time.Unix(1, 0)
	now := begun
	p := pace{purse: new(purse)}
	for range frames {
		p.earn(earned)
		now = now.Add(p.spend(frameUnits, func() time.Time { return now }))
	}
	return now.Sub(begun)
}

// Frames that do no work come 1,100 a second after the first thousand; those of answered calls as they like.
func TestPace(t *testing.T) {
	for _, sample := range []struct {
		frames, earned int
		least, most    time.Duration
	}{
		{1000, 0, 0, 0},
		{12_000, 0, 10*time.Second - 2*nap, 10 * time.Second},
		{100_000, answerUnits / 4, 0, 0},
		{12_000, frameUnits / 2, 4 * time.Second, 5 * time.Second},
	} {
		if took := waited(sample.frames, sample.earned); took < sample.least || took > sample.most {
			t.Errorf("%d frames that earn %d each take %v", sample.frames, sample.earned, took)
		}
	}
}

// What was not used for a long time is a second's worth, and no more.
func TestPaceAfterSilence(t *testing.T) {
	now := time.Unix(1, 0)
	p := pace{purse: new(purse)}
	clock := func() time.Time { return now }
	for range 2000 {
		p.spend(frameUnits, clock)
	}
	now = now.Add(time.Hour)
	free := 0
	for p.spend(frameUnits, clock) == 0 {
		free++
	}
	if least := 1100; free < least || free > least+int(nap*1000/time.Second) {
		t.Errorf("%d frames were free", free)
	}
}

// However much was done for nothing, nobody waits for longer than a second at once.
func TestPaceOfDebts(t *testing.T) {
	p := pace{purse: new(purse)}
	p.earn(-100 * paceUnits)
	if wait := p.spend(frameUnits, time.Now); wait != time.Second {
		t.Errorf("the reader waits for %v", wait)
	}
}

// Peers of one address that flood share its thousand frames; who is answered beside them, or asks little, goes on.
func TestPaceOfNeighbours(t *testing.T) {
	now := time.Unix(1, 0)
	clock := func() time.Time { return now }
	shared := new(purse)
	floods := []*pace{{purse: shared}, {purse: shared}, {purse: shared}}
	modest, busy := pace{purse: shared}, pace{purse: shared}
	modest.spend(frameUnits, clock)
	sent := 0
	for range 1000 { // ten seconds, in steps of ten milliseconds
		for _, each := range floods {
			for each.spend(frameUnits, clock) == 0 {
				sent++
			}
		}
		now = now.Add(10 * time.Millisecond)
		if wait := modest.spend(frameUnits, clock); wait > 0 {
			t.Fatalf("who sends 100 frames a second waits for %v", wait)
		}
		for range 50 {
			busy.earn(answerUnits)
			if wait := busy.spend(frameUnits, clock); wait > 0 {
				t.Fatalf("who is answered waits for %v", wait)
			}
		}
	}
	if sent > 15_000 {
		t.Errorf("%d frames that do no work were read in ten seconds", sent)
	}
}
