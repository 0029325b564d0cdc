package service

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"
)

// A call's message has to arrive within a time of its own: a client that sends a byte now and then would otherwise hold
// its stream, and what has arrived of the message, for as long as it likes.

type receiveKey struct{}

// limitReceive starts the time when a call's headers are there.
func limitReceive(limit time.Duration) tap.ServerInHandle {
	return func(ctx context.Context, _ *tap.Info) (context.Context, error) {
		ctx, cancel := context.WithCancel(ctx)
		// gRPC ends its own context, and so this one, with the call.
		return context.WithValue(ctx, receiveKey{}, time.AfterFunc(limit, cancel)), nil
	}
}

// received ends the time; the message is there.
func received(ctx context.Context) {
	if timer, ok := ctx.Value(receiveKey{}).(*time.Timer); ok {
		timer.Stop()
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
