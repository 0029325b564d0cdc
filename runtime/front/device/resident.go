package device

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"accelform/front/refusal"
	"accelform/front/telemetry"
	"accelform/front/worker"
)

const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 10 * time.Second
	// A process that lived this long is no part of a series of crashes.
	longLife = time.Minute
)

// config is what a resident needs besides its model.
type config struct {
	command []string
	load    worker.LoadMeta
	// loadTimeout and hang are the longest times a model may take to load, and to compute one image.
	loadTimeout time.Duration
	hang        time.Duration
	log         *telemetry.Log
	// changed is called when the resident starts or stops serving, without its lock.
	changed func()
	// restarted is called with crash or hang when the process is about to be made anew.
	restarted func(reason string)
}

// resident is one model on the FPGA, in a process that is started anew when it crashes or hangs.
type resident struct {
	config
	ticks   ticks
	mu      sync.Mutex
	wake    chan struct{} // of size 1: something in the line has changed
	line    line
	writing bool // somebody writes a frame
	tasks   int  // that somebody waits for
	idle    chan struct{}
	process *worker.Process // nil while there is none that serves
	about   *worker.About
	problem *refusal.Refusal // why there is none
	silent  bool             // there is one, which shows no sign of life
	pinged  bool             // an idle process was asked whether it is there, and has not answered
	wanted  bool             // it is to be asked
	heard   time.Time        // when the process last said something
	failed  int              // restarts in a row
	closed  bool
	stop    context.CancelFunc
	over    chan struct{} // closed when no process is left
}

// load starts a resident; it returns once the model is warm, or why it cannot be.
func load(ctx context.Context, c config) (*resident, error) {
	process, about, err := start(ctx, c)
	if err != nil {
		return nil, err
	}
	c.load.Beside = false // from now on this is the one that serves
	life, stop := context.WithCancel(context.Background())
	r := &resident{config: c, wake: make(chan struct{}, 1), stop: stop, over: make(chan struct{})}
	r.process, r.about = process, about
	go r.live(life, process)
	return r, nil
}

func start(ctx context.Context, c config) (*worker.Process, *worker.About, error) {
	process, err := worker.Start(c.command, c.log.Forward)
	if err != nil {
		return nil, nil, err
	}
	limited, cancel := context.WithTimeout(ctx, c.loadTimeout)
	defer cancel()
	about, err := process.Load(limited, c.load)
	if err == nil {
		return process, about, nil
	}
	process.Kill()
	<-process.Ended()
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = refusal.New(codes.DeadlineExceeded,
			"the model was not loaded within initial_delay_seconds, %g s; allow more", c.loadTimeout.Seconds())
	}
	return nil, nil, err
}

// live keeps a process running until the resident is closed.
func (r *resident) live(ctx context.Context, process *worker.Process) {
	defer close(r.over)
	backoff := backoffFirst
	for {
		began := time.Now()
		reason := r.serve(ctx, process)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > longLife {
			backoff = backoffFirst
		}
		r.restarted(reason)
		for process = nil; process == nil; {
			r.log.Write("restarting", "after_ms", backoff.Milliseconds())
			select {
			case <-ctx.Done():
				return
			case <-time.After(backoff):
			}
			backoff = min(2*backoff, backoffMost)
			process = r.restart(ctx)
		}
	}
}

func (r *resident) restart(ctx context.Context) *worker.Process {
	process, about, err := start(ctx, r.config)
	if err != nil {
		r.log.Write("restart", "state", "failed", "message", err.Error())
		r.mu.Lock()
		r.problem = trouble(err)
		r.failed++
		if overdue(err) {
			r.failed = stuckAfter
		}
		r.mu.Unlock()
		r.changed()
		return nil
	}
	r.log.Write("restart", "state", "serving", "pid", about.PID)
	r.mu.Lock()
	r.process, r.about, r.problem, r.failed = process, about, nil, 0
	r.mu.Unlock()
	r.changed()
	return process
}

// serve feeds one process until it is gone, and tells whether it crashed or hung.
func (r *resident) serve(ctx context.Context, process *worker.Process) string {
	receiving := make(chan error, 1)
	go func() { receiving <- r.receive(process) }()
	sending, quit := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sending)
		r.send(process, quit)
	}()
	look := time.NewTicker(max(min(r.hang/10, lookEvery), 10*time.Millisecond))
	defer look.Stop()
	reason, why := "crash", ""
	var seen pulse
	for waiting := true; waiting; {
		select {
		case <-ctx.Done():
			process.Leave()
			waiting = false
		case <-receiving:
			r.gone()
			why, waiting = process.Lost(), false
		case now := <-look.C:
			if why = r.hangs(process, &seen, now); why != "" {
				reason, waiting = "hang", false
				process.Kill()
				<-process.Ended()
			}
		}
	}
	close(quit)
	<-sending
	r.mu.Lock()
	begun := !r.pinged // answers come in the order of the questions
	r.process, r.problem, r.silent, r.pinged, r.wanted = nil, trouble(nil), false, false, false
	if t := r.line.lost(begun); t != nil {
		r.settle(t, outcome{refused: refusal.New(codes.Unavailable,
			"the model's process ended while it computed this call (%s); ask again, it is being started anew", why)})
	}
	r.mu.Unlock()
	if ctx.Err() == nil {
		r.changed()
		r.log.Write("worker", "state", "lost", "reason", reason, "message", why, "pid", process.PID())
	}
	return reason
}

// send writes what the line gives, whenever there is something.
func (r *resident) send(process *worker.Process, quit <-chan struct{}) {
	for {
		r.mu.Lock()
		var write func() error
		if !r.writing {
			write = r.next(process)
		}
		r.mu.Unlock()
		if write == nil {
			select {
			case <-r.wake:
				continue
			case <-quit:
				return
			}
		}
		if !r.wrote(write()) {
			return
		}
	}
}

// sendNow is a shorter way for a call that finds the FPGA idle: its own goroutine writes. Where the FPGA is not idle it
// might have to wait until the worker reads again.
func (r *resident) sendNow() {
	r.mu.Lock()
	var write func() error
	if r.process != nil && !r.writing && len(r.line.flights) == 0 && len(r.line.drops) == 0 {
		write = r.next(r.process)
	}
	r.mu.Unlock()
	if write == nil || !r.wrote(write()) {
		r.poke()
	}
}

// next takes the next frame from the line; the caller holds the lock, calls the result without it, and then wrote. nil:
// there is nothing to send now.
func (r *resident) next(process *worker.Process) func() error {
	if r.process != process || r.silent {
		return nil // it is gone, or may be soon: calls wait for it or the next one
	}
	if len(r.line.drops) > 0 {
		drop := r.line.drops[0]
		r.line.drops = r.line.drops[1:]
		r.writing = true
		return func() error { return process.Send(worker.Drop, drop, nil, nil) }
	}
	t := r.line.take()
	if t == nil && r.wanted && len(r.line.flights) == 0 {
		r.wanted, r.pinged, r.writing = false, true, true
		return func() error { return process.Send(worker.Ping, 0, nil, nil) }
	}
	if t == nil {
		return nil
	}
	now := time.Now()
	kind, meta, body := t.message(now)
	body.Ref() // the caller may leave, and free the message, while it is written
	r.line.sent(t, now)
	r.writing = true
	return func() error {
		defer body.Free()
		return process.Send(kind, t.id, meta, body)
	}
}

// wrote ends what next began, and tells whether the process still listens; where it does not, who reads from it sees
// the same end and cleans up.
func (r *resident) wrote(err error) bool {
	r.mu.Lock()
	r.writing = false
	more := len(r.line.waiting) > 0 || len(r.line.drops) > 0
	r.mu.Unlock()
	if more {
		r.poke()
	}
	return err == nil
}

// receive hands the worker's answers to those who wait, until the socket ends.
func (r *resident) receive(process *worker.Process) error {
	for {
		frame, err := process.Receive()
		if err != nil {
			return err
		}
		more, err := r.take(frame)
		if err != nil {
			r.log.Write("worker", "state", "confused", "message", err.Error())
			process.Kill()
			return err
		}
		if more {
			r.poke()
		}
	}
}

// take hands an answer to its call, and tells whether others wait.
func (r *resident) take(frame *worker.Frame) (bool, error) {
	if frame.Kind == worker.Pong {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pinged, r.heard = false, time.Now()
		return false, nil
	}
	result, progress, err := read(frame)
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = time.Now()
	t, err := r.line.answered(frame.ID, r.heard)
	if err != nil {
		return false, err
	}
	if progress != nil {
		t.total = progress.Total
		if t.next() && !t.waiting {
			r.line.put(t)
		}
	} else {
		if result.answer != nil {
			result.answer.Queued = t.begun.Sub(t.call.Arrived)
		}
		r.settle(t, result)
	}
	return len(r.line.waiting) > 0 || len(r.line.drops) > 0, nil
}

func read(frame *worker.Frame) (outcome, *worker.ProgressMeta, error) {
	switch frame.Kind {
	case worker.Done:
		answer := &Answer{Body: frame.Body}
		return outcome{answer: answer}, nil, frame.Decode(&answer.DoneMeta)
	case worker.Progress:
		progress := &worker.ProgressMeta{}
		return outcome{}, progress, frame.Decode(progress)
	case worker.Refused:
		var meta worker.RefusedMeta
		err := frame.Decode(&meta)
		return outcome{refused: refused(meta)}, nil, err
	}
	return outcome{}, nil, errors.New("the worker sent a frame that answers no call")
}

func refused(meta worker.RefusedMeta) *refusal.Refusal {
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(`"` + meta.Code + `"`)); err != nil || code == codes.Internal {
		return refusal.Internal(meta.Kind + ": " + meta.Message)
	}
	return &refusal.Refusal{Code: code, Message: refusal.Clip(meta.Message)}
}

// settle ends a task for its caller; the caller of settle holds the lock.
func (r *resident) settle(t *task, result outcome) {
	if !t.over {
		r.tasks--
		if r.tasks == 0 && r.idle != nil {
			close(r.idle)
			r.idle = nil
		}
	}
	t.settle(result)
}

func (r *resident) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *resident) description() *worker.About {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.about
}

func (r *resident) depth() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.line.waiting)
}
