package device

import (
	"net/netip"
	"testing"
	"time"

	"accelform/front/worker"
)

var noon = time.Unix(1_000_000, 0)

func taskOf(id uint64) *task {
	return &task{id: id, settled: make(chan outcome, 1)}
}

// step sends what the line gives next and returns its id and kind; 0 when it gives nothing.
func step(l *line, at time.Time) (uint64, worker.Kind) {
	t := l.take()
	if t == nil {
		return 0, 0
	}
	kind, _, _ := t.message(at)
	l.sent(t, at)
	return t.id, kind
}

// progress is the worker's answer that `total` images are known and one more is done.
func progress(t *testing.T, l *line, id uint64, total int, at time.Time) {
	t.Helper()
	found, err := l.answered(id, at)
	if err != nil {
		t.Fatal(err)
	}
	found.total = total
	if found.next() && !found.waiting {
		l.put(found)
	}
}

func done(t *testing.T, l *line, id uint64, at time.Time) *task {
	t.Helper()
	found, err := l.answered(id, at)
	if err != nil {
		t.Fatal(err)
	}
	found.settle(outcome{answer: &Answer{}})
	return found
}

func taskFrom(id uint64, address string) *task {
	t := taskOf(id)
	t.call.From = netip.PrefixFrom(netip.MustParseAddr(address), 32)
	return t
}

const noisy, quiet, other = "10.0.0.1", "10.0.0.2", "10.0.0.3"

// Each address has its turn in rotation; what one has sent is in order.
func TestTurnsOfAddresses(t *testing.T) {
	l := &line{pace: time.Second}
	for id := uint64(1); id <= 4; id++ {
		l.put(taskFrom(id, noisy))
	}
	l.put(taskFrom(11, quiet))
	l.put(taskFrom(12, quiet))
	l.put(taskFrom(21, other))

	for _, expected := range []uint64{1, 11, 21, 2, 12, 3, 4} {
		id, _ := step(l, noon)
		if id != expected {
			t.Fatalf("call %d has the turn of call %d", id, expected)
		}
		done(t, l, id, noon)
	}
}

// Who comes now and then waits for one turn of another one, not for all that it has sent, and has nothing to catch up on.
func TestTurnOfANewcomer(t *testing.T) {
	l := &line{pace: time.Second}
	for id := uint64(1); id <= 20; id++ {
		l.put(taskFrom(id, noisy))
	}
	for range 10 {
		id, _ := step(l, noon)
		done(t, l, id, noon)
	}
	l.put(taskFrom(100, quiet))
	l.put(taskFrom(101, quiet))

	for _, expected := range []uint64{11, 100, 12, 101, 13, 14} {
		id, _ := step(l, noon)
		if id != expected {
			t.Fatalf("call %d has the turn of call %d", id, expected)
		}
		done(t, l, id, noon)
	}
}

// A full line has room for an address that holds less of it: the newest of the address that has most gives way, if it
// has not begun.
func TestWhoGivesWay(t *testing.T) {
	l := &line{pace: time.Second}
	for id := uint64(1); id <= 4; id++ {
		l.put(taskFrom(id, noisy))
	}
	l.put(taskFrom(11, quiet))
	from := func(address string) netip.Prefix { return taskFrom(0, address).call.From }

	if found := l.yielding(from(other)); found == nil || found.id != 4 {
		t.Fatalf("%v gives way to an address that has none", found)
	}
	if found := l.yielding(from(quiet)); found == nil || found.id != 4 {
		t.Fatalf("%v gives way to an address that has one", found)
	}
	if found := l.yielding(from(noisy)); found != nil {
		t.Fatalf("call %d gives way to one of its own address", found.id)
	}
	l.waiting[3].asked = 1
	if found := l.yielding(from(other)); found == nil || found.id != 3 {
		t.Fatalf("%v gives way, not the last one that has not begun", found)
	}
}

// Calls are computed in the order in which they came, one at a time while images take long.
func TestOrder(t *testing.T) {
	l := &line{pace: time.Second}
	l.put(taskOf(1))
	l.put(taskOf(2))

	if id, kind := step(l, noon); id != 1 || kind != worker.Run {
		t.Fatalf("first: %d %d", id, kind)
	}
	if id, _ := step(l, noon); id != 0 {
		t.Fatalf("%d was sent while 1 is computed", id)
	}
	done(t, l, 1, noon.Add(time.Second))
	if id, _ := step(l, noon); id != 2 {
		t.Fatalf("second: %d", id)
	}
}

// Where images take a moment only, the next call is sent ahead; never more than one.
func TestSendsAheadWhereImagesAreQuick(t *testing.T) {
	l := &line{pace: time.Millisecond}
	for id := range 3 {
		l.put(taskOf(uint64(id + 1)))
	}

	first, _ := step(l, noon)
	second, _ := step(l, noon)
	third, _ := step(l, noon)

	if first != 1 || second != 2 || third != 0 {
		t.Fatalf("sent %d %d %d", first, second, third)
	}
}

// A batch gives way to other calls after each of its images.
func TestBatchesGiveWay(t *testing.T) {
	l := &line{pace: time.Second}
	l.put(taskOf(1))
	l.put(taskOf(2))
	var order []uint64
	for len(order) < 4 {
		id, kind := step(l, noon)
		order = append(order, id)
		if id == 1 {
			if (kind == worker.Run) != (len(order) == 1) {
				t.Fatalf("image %d of the batch was asked for by frame %d", len(order), kind)
			}
			progress(t, l, id, 3, noon)
		} else {
			done(t, l, id, noon)
		}
	}
	if want := []uint64{1, 2, 1, 1}; !equal(order, want) {
		t.Fatalf("order %v, want %v", order, want)
	}
	if id, _ := step(l, noon); id != 0 {
		t.Fatalf("a fourth image of three was asked for")
	}
}

// A call whose caller has left is not run, and one that was begun is dropped at the worker.
func TestLeaving(t *testing.T) {
	l := &line{pace: time.Second}
	begun, waits := taskOf(1), taskOf(2)
	l.put(begun)
	l.put(waits)
	step(l, noon)
	for _, left := range []*task{begun, waits} {
		left.settle(outcome{refused: tooLate()})
		l.leave(left)
	}
	if len(l.drops) != 1 || l.drops[0] != 1 {
		t.Fatalf("drops %v, want only 1", l.drops)
	}
	if _, err := l.answered(1, noon); err != nil {
		t.Fatal(err)
	}
	if id, _ := step(l, noon); id != 0 {
		t.Fatalf("%d ran for nobody", id)
	}
}

// When the process is lost, the call it computed has failed; others wait again from their first image, in order.
func TestLosingTheProcess(t *testing.T) {
	l := &line{pace: time.Millisecond}
	batch, ahead, waits := taskOf(1), taskOf(2), taskOf(3)
	l.put(batch)
	step(l, noon)
	l.put(ahead)
	progress(t, l, 1, 5, noon)
	l.put(waits)
	step(l, noon) // 2 is computed
	step(l, noon) // the batch is ahead

	if failed := l.lost(true); failed != ahead {
		t.Fatalf("call %v failed, want 2", failed)
	}
	if id, _ := step(l, noon); id != 3 {
		t.Fatalf("%d comes first, want 3: it was the batch's turn already", id)
	}
	if id, _ := step(l, noon); id != 0 {
		t.Fatalf("%d is sent ahead although the new process's pace is not known", id)
	}
	done(t, l, 3, noon.Add(time.Second))
	if id, kind := step(l, noon); id != 1 || kind != worker.Run {
		t.Fatalf("the batch continues as %d with frame %d, want a new run", id, kind)
	}
}

// A certified call has the worker for itself, so that the only thing it can hear is that its caller left.
func TestCertifiedCallsAreAlone(t *testing.T) {
	l := &line{pace: time.Millisecond}
	certified := taskOf(2)
	certified.call.Certified = true
	l.put(taskOf(1))
	l.put(certified)
	l.put(taskOf(3))
	step(l, noon)
	if id, _ := step(l, noon); id != 0 {
		t.Fatalf("certified call %d was sent ahead", id)
	}
	done(t, l, 1, noon)
	step(l, noon)
	if id, _ := step(l, noon); id != 0 {
		t.Fatalf("call %d was sent behind a certified one", id)
	}
}

// An answer that was not asked for is an error, not somebody's reply.
func TestAnswersInOrder(t *testing.T) {
	l := &line{}
	l.put(taskOf(1))
	step(l, noon)
	if _, err := l.answered(2, noon); err == nil {
		t.Fatal("an answer to call 2 was taken while 1 is computed")
	}
}

func equal(a, b []uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for index := range a {
		if a[index] != b[index] {
			return false
		}
	}
	return true
}
