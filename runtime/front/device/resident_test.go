package device

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"

	"accelform/front/refusal"
	"accelform/front/telemetry"
	"accelform/front/worker"
)

const roleKey = "ACCELFORM_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(roleKey) != "" {
		workAtRandom()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// workAtRandom is a worker whose model answers with the request itself, for batches of a random size, and which crashes
// now and then. A second frame for an image, or one for a call it does not know, is its end with code 7.
func workAtRandom() {
	socket := os.NewFile(3, "front")
	from := bufio.NewReader(socket)
	type call struct {
		body        []byte
		done, total int
	}
	calls := map[uint64]*call{}
	for {
		var head [24]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return
		}
		id := binary.LittleEndian.Uint64(head[8:])
		rest := make([]byte, uint64(binary.LittleEndian.Uint32(head[4:]))+binary.LittleEndian.Uint64(head[16:]))
		if _, err := io.ReadFull(from, rest); err != nil {
			return
		}
		body := rest[binary.LittleEndian.Uint32(head[4:]):]
		switch worker.Kind(binary.LittleEndian.Uint32(head[:])) {
		case worker.Load:
			tell(socket, worker.Ready, id, worker.About{Name: "echo", Version: 1, PID: os.Getpid()}, nil)
			continue
		case worker.Drop:
			delete(calls, id)
			continue
		case worker.Ping:
			tell(socket, worker.Pong, id, struct{}{}, nil)
			continue
		case worker.Run:
			if calls[id] != nil {
				os.Exit(7)
			}
			calls[id] = &call{body: body, total: 1 + rand.IntN(2)*rand.IntN(5)}
		case worker.Continue:
			if calls[id] == nil { // its last frame came before the DROP that followed
				tell(socket, worker.Refused, id, worker.RefusedMeta{Code: "INTERNAL", Message: "not under way"}, nil)
				continue
			}
		}
		if rand.IntN(600) == 0 {
			os.Exit(3)
		}
		c := calls[id]
		if c.done++; c.done < c.total {
			tell(socket, worker.Progress, id, worker.ProgressMeta{Done: c.done, Total: c.total}, nil)
			continue
		}
		delete(calls, id)
		tell(socket, worker.Done, id, worker.DoneMeta{Images: c.total}, c.body)
	}
}

func tell(to io.Writer, kind worker.Kind, id uint64, meta any, body []byte) {
	text, _ := json.Marshal(meta)
	head := make([]byte, 24)
	binary.LittleEndian.PutUint32(head, uint32(kind))
	binary.LittleEndian.PutUint32(head[4:], uint32(len(text)))
	binary.LittleEndian.PutUint64(head[8:], id)
	binary.LittleEndian.PutUint64(head[16:], uint64(len(body)))
	_, _ = to.Write(append(append(head, text...), body...))
}

// Callers that come, wait, run out of time and leave, in front of a process that crashes: each has one outcome, an
// answer is always the call's own, and nothing is left.
func TestResidentAtRandom(t *testing.T) {
	t.Setenv(roleKey, "random")
	var restarts sync.Map
	r, err := load(t.Context(), config{
		command: os.Args[:1], loadTimeout: 30 * time.Second, hang: 30 * time.Second, log: telemetry.NewLog(io.Discard),
		changed: func() {}, restarted: func(reason string) { restarts.Store(reason, true) },
	})
	if err != nil {
		t.Fatal(err)
	}
	const callers, each = 20, 60
	var waiting sync.WaitGroup
	for caller := range uint64(callers) {
		waiting.Go(func() {
			random := rand.New(rand.NewPCG(caller, 3))
			for number := range uint64(each) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				if random.IntN(4) == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(random.IntN(3000))*time.Microsecond)
				}
				text := fmt.Sprintf("caller %d call %d", caller, number)
				answer, refused := r.score(ctx, 1+caller*each+number, Call{
					Method: "Predict", Message: mem.BufferSlice{mem.SliceBuffer(text)}, Arrived: time.Now(),
					Certified: random.IntN(10) == 0,
				}, limits{queue: callers, total: time.Minute})
				cancel()
				if problem := judge(answer, refused, text); problem != "" {
					t.Error(problem)
				}
			}
		})
	}
	waiting.Wait()
	if r.tasks != 0 || r.depth() != 0 {
		t.Errorf("%d calls and %d in the line are left", r.tasks, r.depth())
	}
	if _, hung := restarts.Load("hang"); hung {
		t.Error("a process counted as hung")
	}
	r.end(stopping)
	if _, refused := r.score(t.Context(), 1, Call{Arrived: time.Now()}, limits{total: time.Minute}); refused == nil {
		t.Error("a call was taken after the end")
	}
}

func judge(answer *Answer, refused *refusal.Refusal, text string) string {
	switch {
	case refused == nil && answer == nil:
		return "neither an answer nor a refusal"
	case refused == nil:
		defer answer.Body.Free()
		if got := string(answer.Body.Materialize()); got != text {
			return fmt.Sprintf("%q got the answer of %q", text, got)
		}
	case refused.Code == codes.DeadlineExceeded, refused.Code == codes.Canceled:
	case refused.Code == codes.Unavailable && strings.Contains(refused.Message, "exit status 3"):
	default:
		return fmt.Sprintf("%q is refused: %s %s %s", text, refused.Code, refused.Message, refused.Detail)
	}
	return ""
}
