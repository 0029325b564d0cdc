package worker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
)

// roleKey makes this test's program a worker that behaves as the value says.
const roleKey = "ACCELFORM_TEST_WORKER"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleKey); role != "" {
		act(role)
	}
	os.Exit(m.Run())
}

func act(role string) {
	signal.Ignore(syscall.SIGTERM)
	socket, err := net.FileConn(os.NewFile(3, "front"))
	if err != nil {
		os.Exit(9)
	}
	syscall.Close(3)
	from := bufio.NewReader(socket)
	if _, err := read(from); err != nil {
		os.Exit(8)
	}
	switch role {
	case "ready":
		_ = write(socket, Ready, 0, []byte(`{"name": "digits", "version": 3}`), mem.BufferSlice{mem.SliceBuffer("signature")})
		_, _ = read(from)
	case "failed":
		_ = write(socket, Failed, 0, []byte(`{"kind": "BundleInvalid", "message": "damaged", "exit_code": 2}`), nil)
	case "confused":
		_ = write(socket, Done, 7, []byte(`{}`), nil)
	case "rubbish":
		_, _ = socket.Write(bytes.Repeat([]byte{0xff}, 64))
		hang()
	case "crash":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "hang":
		hang()
	case "deaf":
		socket.Close()
		hang()
	}
	os.Exit(0)
}

// hang waits for longer than any test does; Go ends a program in which nothing is left that could ever go on.
func hang() {
	time.Sleep(time.Hour)
}

func started(t *testing.T, role string) *Process {
	t.Helper()
	t.Setenv(roleKey, role)
	process, err := Start(os.Args[:1], func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Kill()
		<-process.Ended()
	})
	return process
}

// A model that is loaded is told with all that the worker says of it.
func TestLoads(t *testing.T) {
	process := started(t, "ready")
	about, err := process.Load(t.Context(), LoadMeta{ModelDir: "here"})
	if err != nil || about.Name != "digits" || about.Version != 3 || string(about.SignatureDefMap) != "signature" {
		t.Fatalf("%+v, %v", about, err)
	}
	process.Leave()
	if reason := process.Reason(); reason != "it ended by itself" {
		t.Fatal(reason)
	}
}

// What goes wrong with a load is an error that tells what; none of it takes for ever.
func TestLoadsThatFail(t *testing.T) {
	for role, words := range map[string]string{
		"failed":   "damaged",
		"confused": "a frame of kind 18",
		"rubbish":  "announces",
		"crash":    "signal: killed",
		"deaf":     "process is gone",
		"hang":     "deadline",
	} {
		t.Run(role, func(t *testing.T) {
			process := started(t, role)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if role == "hang" {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			}
			defer cancel()
			_, err := process.Load(ctx, LoadMeta{})
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Fatalf("%v, want %q", err, words)
			}
			var failed *LoadFailed
			if errors.As(err, &failed) != (role == "failed") {
				t.Fatalf("%T", err)
			}
		})
	}
}

// A worker that says why it ends and then ends is heard, however soon its end is noticed.
func TestLastWords(t *testing.T) {
	t.Setenv(roleKey, "failed")
	for range 3 {
		process, err := Start(os.Args[:1], func([]byte) {})
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Send(Load, 0, LoadMeta{}, nil); err != nil {
			t.Fatal(err)
		}
		<-process.Ended()
		frame, err := process.Receive()
		if err != nil || frame.Kind != Failed {
			t.Fatalf("%v, %v", frame, err)
		}
		if _, err := process.Receive(); err == nil {
			t.Fatal("a process that is gone says more")
		}
	}
}

// A process that does not leave when it is asked to is ended.
func TestLeaves(t *testing.T) {
	process := started(t, "hang")
	if err := process.Send(Load, 0, LoadMeta{}, nil); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	process.Leave()
	if took := time.Since(begun); took < leaveTime || took > leaveTime+5*time.Second {
		t.Fatalf("it took %s", took)
	}
}

// A program that is not there is an error, and costs no file.
func TestNoProgram(t *testing.T) {
	before := files(t)
	for range 50 {
		if _, err := Start([]string{"/nothing/here"}, func([]byte) {}); err == nil || !strings.Contains(err.Error(), "/nothing/here") {
			t.Fatal(err)
		}
	}
	if after := files(t); after > before+2 {
		t.Fatalf("%d files are open, %d were", after, before)
	}
}

func files(t *testing.T) int {
	t.Helper()
	found, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not list open files")
	}
	return len(found)
}

// Frames come out as they went in, whatever their parts.
func TestFramesComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var through bytes.Buffer
		meta := bytes.Repeat([]byte("m"), random.IntN(5000))
		var body mem.BufferSlice
		var whole []byte
		for range random.IntN(4) {
			part := bytes.Repeat([]byte{byte(random.IntN(256))}, random.IntN(100_000))
			body, whole = append(body, mem.SliceBuffer(part)), append(whole, part...)
		}
		id := random.Uint64()
		if err := write(&through, Run, id, meta, body); err != nil {
			t.Fatal(err)
		}
		frame, err := read(bufio.NewReader(&through))
		if err != nil || frame.Kind != Run || frame.ID != id || !bytes.Equal(frame.Meta, meta) {
			t.Fatalf("%+v, %v", frame, err)
		}
		if !bytes.Equal(frame.Body.Materialize(), whole) {
			t.Fatal("the body is another one")
		}
	}
}

// Bytes that end early or announce too much are errors before memory is taken for them.
func FuzzRead(f *testing.F) {
	var good bytes.Buffer
	_ = write(&good, Done, 5, []byte(`{"images": 1}`), mem.BufferSlice{mem.SliceBuffer("reply")})
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:10])
	f.Add(bytes.Repeat([]byte{0xff}, headerBytes))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > headerBytes {
			data[19] = 0 // a body of up to 16 MiB is enough to try
		}
		frame, err := read(bufio.NewReader(bytes.NewReader(data)))
		if err == nil && headerBytes+len(frame.Meta)+frame.Body.Len() > len(data) {
			t.Fatal("a frame is longer than what came")
		}
	})
}
