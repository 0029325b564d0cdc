package device

import (
	"math/rand/v2"
	"net/netip"
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
	places int                                   // from which calls come
	missed map[netip.Prefix]map[netip.Prefix]int // turns that others had while this one waited
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
		t: t, random: rand.New(rand.NewPCG(seed, 7)), now: noon, places: 1 + int(seed%3),
		missed: map[netip.Prefix]map[netip.Prefix]int{}, since: map[*task]int{}, images: map[*task]int{},
		frames: map[*task]int{}, done: map[*task]int{}, ends: map[*task]int{},
	}
}

// look notes who has got a place in the line since the last look. Only a call that a lost process had in its hands
// comes first; all others stand behind those who were there.
func (p *play) look(lost bool) {
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
	t := taskFrom(p.ids, netip.AddrFrom4([4]byte{10, 0, 0, byte(p.random.IntN(p.places))}).String())
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
		if other != t && other.next() && other.call.From == t.call.From && p.since[other] < p.since[t] {
			p.t.Fatalf("call %d has its turn before call %d, which came earlier", t.id, other.id)
		}
	}
	p.fair(t)
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

// fair holds an address that has its turn against those that wait: each of them misses one turn of another at most.
func (p *play) fair(served *task) {
	waiting := map[netip.Prefix]bool{}
	for _, t := range p.line.waiting {
		if t.next() {
			waiting[t.call.From] = true
		}
	}
	for from, missed := range p.missed {
		if !waiting[from] {
			delete(p.missed, from)
		} else if missed[served.call.From]++; from != served.call.From && missed[served.call.From] > 1 {
			p.t.Fatalf("%v waits while %v has two turns", from, served.call.From)
		}
	}
	for from := range waiting {
		if p.missed[from] == nil {
			p.missed[from] = map[netip.Prefix]int{}
		}
	}
	delete(p.missed, served.call.From)
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
	delete(p.missed, t.call.From) // the call behind it has not waited as long
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
	p.frames, p.done, p.missed = map[*task]int{}, map[*task]int{}, map[netip.Prefix]map[netip.Prefix]int{}
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
			p.look(pick >= 98)
		}
		for p.send() || p.answer() {
			p.look(false)
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
