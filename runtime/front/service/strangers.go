package service

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Who has no key may ask for health, and must not cost what a call with a key may: the messages of hundreds of calls on
// each of many connections, each as long as an image, would take all memory there is.
const (
	// A connection may have as many of these open as a proxy has clients that watch, while they are few in all; and some
	// whatever others do.
	questionsInAll  = 2000
	questionsAnyway = 10
)

// strangers counts the health calls that are open, by connection.
type strangers struct {
	mutex sync.Mutex
	open  map[net.Addr]int
	all   int
}

// enter is false for a connection that has its share while there are many; leave has to follow otherwise.
func (s *strangers) enter(ctx context.Context) (leave func(), entered bool) {
	from, known := peer.FromContext(ctx)
	if !known {
		return func() {}, true
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.open == nil {
		s.open = map[net.Addr]int{}
	}
	if s.all >= questionsInAll && s.open[from.Addr] >= questionsAnyway {
		return nil, false
	}
	s.open[from.Addr]++
	s.all++
	return func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.all--
		if s.open[from.Addr]--; s.open[from.Addr] == 0 {
			delete(s.open, from.Addr)
		}
	}, true
}

func tooMany() error {
	return status.Errorf(codes.ResourceExhausted,
		"%d health calls are open, more than %d of them on this connection; end one first", questionsInAll, questionsAnyway)
}
