package service

import (
	"net"
	"sync"
	"time"
)

const (
	// arriving is what connections that are still being made get when everybody is asked to leave.
	arriving = time.Second
	// quiet is how long after that no call may be under way before nobody is thought to be left: a client that is told to
	// go elsewhere may have sent a call meanwhile.
	quiet = 2 * time.Second
)

// Serve accepts connections until Leave.
func (s *Server) Serve(listener net.Listener) error {
	return s.grpc.Serve(s.arrivals.through(listener))
}

// InFlight is the number of accepted calls without an answer.
func (s *Server) InFlight() int { return int(s.inFlight.Load()) }

// NotServing makes health say so from now on, while calls are still answered.
func (s *Server) NotServing() {
	s.stopping.Store(true)
	s.Update()
}

// Leaving is whether NotServing was called.
func (s *Server) Leaving() bool { return s.stopping.Load() }

// Leave takes no more connections and asks every client to go elsewhere (GOAWAY). Calls that reached us before a client
// knew are answered as always. The result is closed once all have left, or are silent.
func (s *Server) Leave() <-chan struct{} {
	over := make(chan struct{})
	s.leave()
	go func() {
		defer close(over)
		look := time.NewTicker(quiet / 20)
		defer look.Stop()
		since := time.Now()
		for time.Since(since) < quiet {
			select {
			case <-s.left:
				return
			case now := <-look.C:
				if s.InFlight() > 0 || s.arrivals.any() {
					since = now
				}
			}
		}
	}()
	return over
}

func (s *Server) leave() {
	s.leaving.Do(func() {
		s.arrivals.hurry()
		s.close() // watchers would stay as long as they like
		go func() {
			defer close(s.left)
			s.grpc.GracefulStop()
		}()
	})
}

// Stop waits up to `grace` for what is still on its way out, and closes every connection.
func (s *Server) Stop(grace time.Duration) {
	s.leave()
	select {
	case <-s.left:
	case <-time.After(grace):
		s.grpc.Stop()
		<-s.left
	}
}

// arrivals are the connections that are still being made. gRPC asks nobody to leave as long as there are any, so that
// one peer that says nothing would keep all others from learning that they should.
type arrivals struct {
	mutex   sync.Mutex
	open    map[*arrival]struct{}
	hurried bool
}

func (a *arrivals) through(listener net.Listener) net.Listener {
	return &arrivalListener{Listener: listener, arrivals: a}
}

// hurry leaves those that are arriving little time.
func (a *arrivals) hurry() {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.hurried = true
	for each := range a.open {
		_ = each.Conn.SetDeadline(time.Now().Add(arriving))
	}
}

// any is whether there are some: nobody was asked to leave yet.
func (a *arrivals) any() bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return len(a.open) > 0
}

type arrivalListener struct {
	net.Listener
	arrivals *arrivals
}

func (l *arrivalListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &arrival{Conn: conn, arrivals: l.arrivals}, nil
}

// arrival is a connection. gRPC gives it a deadline until it is made, and then takes it away.
type arrival struct {
	net.Conn
	arrivals *arrivals
}

// NetConn is the connection below.
func (c *arrival) NetConn() net.Conn { return c.Conn }

func (c *arrival) SetDeadline(at time.Time) error {
	a := c.arrivals
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if at.IsZero() {
		delete(a.open, c)
	} else {
		if a.open == nil {
			a.open = map[*arrival]struct{}{}
		}
		a.open[c] = struct{}{}
		if soon := time.Now().Add(arriving); a.hurried && at.After(soon) {
			at = soon
		}
	}
	return c.Conn.SetDeadline(at)
}

func (c *arrival) Close() error {
	c.arrivals.mutex.Lock()
	delete(c.arrivals.open, c)
	c.arrivals.mutex.Unlock()
	return c.Conn.Close()
}
