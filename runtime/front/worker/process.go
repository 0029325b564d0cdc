package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/mem"
)

const (
	socketBuffer = 1 << 20
	leaveTime    = 2 * time.Second
	// heardTime is how long the last lines of a process that is gone may take to be read.
	heardTime = 500 * time.Millisecond
)

// LoadFailed is a model that cannot be loaded; ExitCode 2 means that somebody has to change something.
type LoadFailed struct {
	FailedMeta
}

// Error is the worker's own message.
func (f *LoadFailed) Error() string { return f.Message }

// Process is a worker that lives until it is ended or ends itself.
type Process struct {
	command *exec.Cmd
	socket  net.Conn
	reader  *bufio.Reader
	writing sync.Mutex

	heard  <-chan struct{} // closed when all that it said is read
	ended  chan struct{}
	reason string
}

// Start makes a worker process. It dies with this one, however this one ends. `say` gets each line that it writes to
// standard output and error, which are never left unread: a process that waits to be read computes nothing.
func Start(command []string, say func(line []byte)) (*Process, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket pair for the worker: %w", err)
	}
	for _, side := range pair {
		// A message fits in whole, so that writing it does not wait for the worker. A smaller limit only costs time.
		_ = unix.SetsockoptInt(side, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "worker"), os.NewFile(uintptr(pair[1]), "front")
	defer theirs.Close()
	defer ours.Close()
	socket, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("cannot use the worker's socket: %w", err)
	}
	said, saying, err := os.Pipe()
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("cannot make a pipe for the worker's lines: %w", err)
	}
	defer saying.Close()
	process := &Process{
		command: exec.Command(command[0], command[1:]...),
		socket:  socket,
		reader:  bufio.NewReaderSize(socket, 64<<10),
		heard:   hear(said, say),
		ended:   make(chan struct{}),
	}
	process.command.Stdout, process.command.Stderr = saying, saying
	process.command.ExtraFiles = []*os.File{theirs}
	dieWithParent(process.command)
	started := make(chan error)
	go process.attend(started)
	if err := <-started; err != nil {
		socket.Close()
		saying.Close()
		<-process.heard
		return nil, fmt.Errorf("cannot start the worker %s: %w", command[0], err)
	}
	return process, nil
}

// attend starts the process and waits for its end on one thread that stays: the kernel ties a child's death signal to
// the thread that made it.
func (p *Process) attend(started chan<- error) {
	runtime.LockOSThread()
	keepStopsAway()
	if err := p.command.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	err := p.command.Wait()
	p.reason = "it ended by itself"
	if err != nil {
		p.reason = err.Error()
	}
	select { // its last lines come before what is told of its end
	case <-p.heard:
	case <-time.After(heardTime):
	}
	// Not yet closed: its last words may still be unread.
	time.AfterFunc(leaveTime, func() { p.socket.Close() })
	close(p.ended)
}

// Load gives the worker its model and waits until it is warm.
func (p *Process) Load(ctx context.Context, meta LoadMeta) (*About, error) {
	if err := p.Send(Load, 0, meta, nil); err != nil {
		return nil, p.lost(err)
	}
	type answer struct {
		frame *Frame
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		frame, err := p.Receive()
		answered <- answer{frame, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case got := <-answered:
		if got.err != nil {
			return nil, p.lost(got.err)
		}
		return about(got.frame)
	}
}

func about(frame *Frame) (*About, error) {
	defer frame.Body.Free()
	switch frame.Kind {
	case Ready:
		found := &About{SignatureDefMap: frame.Body.Materialize()}
		return found, frame.Decode(found)
	case Failed:
		failed := &LoadFailed{}
		if err := frame.Decode(&failed.FailedMeta); err != nil {
			return nil, err
		}
		return nil, failed
	}
	return nil, fmt.Errorf("the worker answered a load with a frame of kind %d", frame.Kind)
}

// Send writes one frame; it may wait while the worker computes. Safe for concurrent use.
func (p *Process) Send(kind Kind, id uint64, meta any, body mem.BufferSlice) error {
	text := []byte("{}")
	if meta != nil {
		var err error
		if text, err = json.Marshal(meta); err != nil {
			return err
		}
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	return write(p.socket, kind, id, text, body)
}

// Receive reads the next frame; only one goroutine may read.
func (p *Process) Receive() (*Frame, error) {
	frame, err := read(p.reader)
	if err != nil {
		p.socket.Close()
	}
	return frame, err
}

// Ended is closed once the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Reason tells how the process ended; call it after Ended.
func (p *Process) Reason() string { return p.reason }

// PID is the process's id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Leave asks the process to end and makes sure that it does.
func (p *Process) Leave() {
	p.socket.Close()
	select {
	case <-p.ended:
	case <-time.After(leaveTime):
		p.Kill()
		<-p.ended
	}
}

// Kill ends the process at once.
func (p *Process) Kill() { _ = p.command.Process.Kill() }

// Lost makes sure that a process whose socket broke is gone, and returns how it ended.
func (p *Process) Lost() string {
	select { // it may just be dying of its own cause, which is worth telling
	case <-p.ended:
	case <-time.After(leaveTime):
		p.Kill()
		<-p.ended
	}
	return p.reason
}

func (p *Process) lost(err error) error {
	return fmt.Errorf("the model's process is gone: %s (%w)", p.Lost(), err)
}
