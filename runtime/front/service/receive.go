package service

import (
	"container/list"
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

// A call's message has to arrive within a time of its own: a client that sends a byte now and then would otherwise hold
// its stream, and what has arrived of the message, for as long as it likes.

type receiveKey struct{}

// receiving are the calls whose messages have not arrived, oldest first. One clock looks after all of them, since a
// timer for each call would cost more than the rest of what is done for it here.
type receiving struct {
	limit time.Duration
	look  time.Duration

	mu      sync.Mutex
	calls   list.List // of *incoming
	running bool
}

type incoming struct {
	calls  *receiving
	entry  *list.Element // nil once the message is there
	late   time.Time
	cancel context.CancelFunc
}

func newReceiving(limit time.Duration) *receiving {
	return &receiving{limit: limit, look: max(min(limit/10, time.Second), time.Millisecond)}
}

// begin is gRPC's tap: a call's headers are there.
func (r *receiving) begin(ctx context.Context, about *tap.Info) (context.Context, error) {
	if strings.LastIndexByte(about.FullMethodName, '/') < 1 {
		// gRPC would answer without any handler, so that nobody would say that the call is over.
		return ctx, status.Error(codes.Unimplemented, "a method's name is /SERVICE/METHOD")
	}
	ctx, cancel := context.WithCancel(ctx) // gRPC ends its own context, and so this one, with the call
	call := &incoming{calls: r, late: time.Now().Add(r.limit), cancel: cancel}
	r.mu.Lock()
	call.entry = r.calls.PushBack(call)
	if !r.running {
		r.running = true
		go r.watch()
	}
	r.mu.Unlock()
	return context.WithValue(ctx, receiveKey{}, call), nil
}

// watch ends calls whose time is over; it goes when there is none to watch.
func (r *receiving) watch() {
	ticker := time.NewTicker(r.look)
	defer ticker.Stop()
	for now := range ticker.C {
		r.mu.Lock()
		for front := r.calls.Front(); front != nil; front = r.calls.Front() {
			oldest := front.Value.(*incoming)
			if now.Before(oldest.late) {
				break
			}
			r.calls.Remove(front)
			oldest.entry = nil
			oldest.cancel()
		}
		if r.calls.Len() == 0 {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
	}
}

// received ends the time of a call whose message is there.
func received(ctx context.Context) {
	call, ok := ctx.Value(receiveKey{}).(*incoming)
	if !ok {
		return
	}
	call.calls.mu.Lock()
	defer call.calls.mu.Unlock()
	if call.entry != nil {
		call.calls.calls.Remove(call.entry)
		call.entry = nil
	}
}

// receivingStream ends the time with the first message that a library's handler reads.
type receivingStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *receivingStream) Context() context.Context { return s.ctx }

func (s *receivingStream) RecvMsg(into any) error {
	err := s.ServerStream.RecvMsg(into)
	received(s.ServerStream.Context())
	return err
}
