package device

import (
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"accelform/front/refusal"
	"accelform/front/worker"
)

// play is a line with a process behind it, both driven at random; it knows what a line must not do.
type play struct {
	t      *testing.T
	random *rand.Rand
	line   line
	now    time.Time
	ids    uint64
	turn   int
	all    []*task
	since  map[*task]int // when the task last got its place
	images map[*task]int // how many it really has
	frames map[*task]int // asked for in the present process's life
	done   map[*task]int // answered in it
	ends   map[*task]int // outcomes
}

func newPlay(t *testing.T, seed uint64) *play {
	return &play{
		t: t, random: rand.New(rand.NewPCG(seed, 7)), now: noon, since: map[*task]int{}, images: map[*task]int{},
		frames: map[*task]int{}, done: map[*task]int{}, ends: map[*task]int{},
	}
}

// places notes who has got a place in the line since the last look. Only a call that a lost process had in its hands
// comes first; all others stand behind those who were there.
func (p *play) places(lost bool) {
	p.turn++
	for index, t := range p.line.waiting {
		switch {
		case p.since[t] != 0:
		case lost:
			p.since[t] = -1_000_000*p.turn + index
		default:
			p.since[t] = p.turn*1000 + index
		}
	}
}

func (p *play) put() {
	p.ids++
	t := taskOf(p.ids)
	t.call.Certified = p.random.IntN(10) == 0
	p.all = append(p.all, t)
	p.images[t] = 1 + p.random.IntN(2)*p.random.IntN(6)
	p.line.put(t)
}

func (p *play) send() bool {
	t := p.line.take()
	if t == nil {
		return false
	}
	if t.over {
		p.t.Fatalf("call %d is sent, whose caller has left", t.id)
	}
	for _, other := range p.line.waiting {
		if other != t && other.next() && p.since[other] < p.since[t] {
			p.t.Fatalf("call %d has its turn before call %d, which came earlier", t.id, other.id)
		}
	}
	kind, _, _ := t.message(p.now)
	if (kind == worker.Run) != (p.frames[t] == 0) {
		p.t.Fatalf("image %d of call %d is asked for by frame %d", p.frames[t], t.id, kind)
	}
	delete(p.since, t)
	p.line.sent(t, p.now)
	if p.frames[t]++; p.frames[t] > p.images[t] {
		p.t.Fatalf("call %d has %d images and is asked for %d", t.id, p.images[t], p.frames[t])
	}
	if len(p.line.flights) > 2 {
		p.t.Fatalf("%d frames are on their way", len(p.line.flights))
	}
	for _, f := range p.line.flights {
		if f.task.call.Certified && len(p.line.flights) > 1 {
			p.t.Fatalf("certified call %d is not alone", f.task.id)
		}
	}
	return true
}

func (p *play) answer() bool {
	if len(p.line.flights) == 0 {
		return false
	}
	p.now = p.now.Add(time.Duration(p.random.IntN(9)) * time.Millisecond)
	expected := p.line.flights[0].task
	t, err := p.line.answered(expected.id, p.now)
	if err != nil {
		p.t.Fatal(err)
	}
	p.done[t]++
	if p.done[t] < p.images[t] && p.random.IntN(12) != 0 {
		t.total = p.images[t]
		if t.next() && !t.waiting {
			p.line.put(t)
		}
		return true
	}
	p.settle(t, outcome{answer: &Answer{}})
	return true
}

func (p *play) settle(t *task, result outcome) {
	before := t.over
	t.settle(result)
	if !before {
		p.ends[t]++
	}
}

func (p *play) leave() {
	if len(p.all) == 0 {
		return
	}
	t := p.all[p.random.IntN(len(p.all))]
	p.settle(t, outcome{refused: tooLate()})
	p.line.leave(t)
	for _, other := range p.line.waiting {
		if other == t {
			p.t.Fatalf("call %d waits for nobody", t.id)
		}
	}
	delete(p.since, t)
	for _, id := range p.line.drops {
		if p.all[id-1].asked == 0 {
			p.t.Fatalf("the process is told to drop call %d, of which it does not know", id)
		}
	}
	p.line.drops = nil
}

func (p *play) lose() {
	var computed *task
	if len(p.line.flights) > 0 {
		computed = p.line.flights[0].task
	}
	current := p.line.lost(true)
	if current != computed {
		p.t.Fatalf("the process computed call %v, call %v failed for it", computed, current)
	}
	if current != nil {
		p.settle(current, outcome{refused: refusal.New(codes.Unavailable, "lost")})
		delete(p.since, current)
	}
	if len(p.line.flights) > 0 || len(p.line.drops) > 0 {
		p.t.Fatal("a new process is thought to know of calls")
	}
	p.frames, p.done = map[*task]int{}, map[*task]int{}
	waiting := map[*task]bool{}
	for _, t := range p.line.waiting {
		if waiting[t] {
			p.t.Fatalf("call %d waits twice", t.id)
		}
		waiting[t] = true
	}
	for _, t := range p.all {
		if !t.over && !waiting[t] {
			p.t.Fatalf("call %d waits for an answer and has no place in the line", t.id)
		}
	}
}

// Whatever comes in whatever order: no image is asked for twice, turns are fair, every call ends once, nothing is left.
func TestLineAtRandom(t *testing.T) {
	for seed := range uint64(3000) {
		p := newPlay(t, seed)
		for range 200 {
			pick := p.random.IntN(100)
			switch {
			case pick < 25:
				p.put()
			case pick < 60:
				p.send()
			case pick < 90:
				p.answer()
			case pick < 98:
				p.leave()
			default:
				p.lose()
			}
			p.places(pick >= 98)
		}
		for p.send() || p.answer() {
			p.places(false)
		}
		if len(p.line.waiting) > 0 || len(p.line.flights) > 0 {
			t.Fatalf("seed %d: %d calls wait and %d are under way for ever", seed, len(p.line.waiting), len(p.line.flights))
		}
		for _, each := range p.all {
			if p.ends[each] != 1 || len(each.settled) != 1 {
				t.Fatalf("seed %d: call %d has %d outcomes", seed, each.id, p.ends[each])
			}
		}
	}
}
