package service

import (
	"context"
	"encoding/binary"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"accelform/front/intake"
	"accelform/front/refusal"
)

const (
	// longestRequest is what a message may have that is no picture or tensor: to reload, for status, metadata, reflection.
	longestRequest = 64 << 10
	// longestQuestion is what who has no key may ask of health.
	longestQuestion = 4 << 10
	// inflatedAtOnce is by how much an inflated message grows.
	inflatedAtOnce = 32 << 10
)

// wireStream is gRPC's own side of a call. Its reader, unlike RecvMsg, shows a message's length before making room.
type wireStream interface {
	ReadMessageHeader(header []byte) error
	Read(count int) (mem.BufferSlice, error)
	RecvCompress() string
}

// receive reads a message of at most `limit` bytes, also when it is inflated, and no more of it than there is room for.
// io.EOF means that the caller has ended instead.
func receive(ctx context.Context, limit int) (mem.BufferSlice, error) {
	call := intake.Of(ctx)
	wire, is := grpc.ServerTransportStreamFromContext(ctx).(wireStream)
	if !is || call == nil {
		return nil, refusal.Internal("the call did not come by a door").Status()
	}
	var header [5]byte
	if err := wire.ReadMessageHeader(header[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(header[1:])
	if int64(length) > int64(limit) {
		return nil, tooLong(limit)
	}
	if !call.Room(int(length)) {
		return nil, intake.Full().Status()
	}
	data, err := wire.Read(int(length))
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch header[0] {
	case 0:
		return data, nil
	case 1:
		defer data.Free()
		return inflated(data, wire.RecvCompress(), limit, call)
	}
	data.Free()
	return nil, status.Errorf(codes.Internal, "a message's first byte is 0 or 1, not %d", header[0])
}

// inflated counts what it makes as a part of what the call holds.
func inflated(data mem.BufferSlice, by string, limit int, call *intake.Call) (mem.BufferSlice, error) {
	if by == "" || by == encoding.Identity {
		return nil, status.Error(codes.Internal, "a compressed message needs grpc-encoding")
	}
	compressor := encoding.GetCompressor(by)
	if compressor == nil {
		return nil, status.Error(codes.Unimplemented, "messages may be compressed with gzip or deflate")
	}
	packed := data.Reader()
	defer packed.Close()
	unpacked, err := compressor.Decompress(packed)
	if err != nil {
		return nil, notPacked()
	}
	source := intake.Unpack(unpacked)
	var found mem.BufferSlice
	for size := 0; ; {
		part := mem.DefaultBufferPool().Get(inflatedAtOnce)
		count, err := fill(source, (*part)[:min(inflatedAtOnce, limit+1-size)])
		if size += count; count > 0 {
			*part = (*part)[:count]
			found = append(found, mem.NewBuffer(part, mem.DefaultBufferPool()))
		} else {
			mem.DefaultBufferPool().Put(part)
		}
		switch {
		case size > limit:
			err = tooLong(limit)
		case err == io.EOF:
			return found, nil
		case err != nil:
			err = notPacked()
		case !call.Take(inflatedAtOnce):
			err = intake.Full().Status()
		default:
			continue
		}
		found.Free()
		return nil, err
	}
}

// fill reads until `into` is full; the error is the source's own.
func fill(source io.Reader, into []byte) (count int, err error) {
	for count < len(into) && err == nil {
		var more int
		more, err = source.Read(into[count:])
		count += more
	}
	return count, err
}

func notPacked() error {
	return status.Error(codes.InvalidArgument, "the message is not compressed as it claims")
}

func tooLong(limit int) error {
	return status.Errorf(codes.ResourceExhausted, "a message to this method has at most %d bytes, also when inflated", limit)
}

// receiveShort reads one message of a few bytes into a protobuf.
func receiveShort(ctx context.Context, limit int, into proto.Message) (length int, err error) {
	data, err := receive(ctx, limit)
	if err != nil {
		return 0, err
	}
	defer data.Free()
	content := data.Materialize()
	if proto.Unmarshal(content, into) != nil {
		name := into.ProtoReflect().Descriptor().Name()
		return 0, status.Errorf(codes.InvalidArgument, "the message is not a %s", name)
	}
	return len(content), nil
}

// ended sees to it that nothing follows the one message of a call.
func ended(ctx context.Context) error {
	wire, is := grpc.ServerTransportStreamFromContext(ctx).(wireStream)
	if !is {
		return nil
	}
	var header [5]byte
	switch err := wire.ReadMessageHeader(header[:]); err {
	case nil:
		return status.Error(codes.Internal, "two messages came, and this method takes one")
	case io.EOF:
		return nil
	default:
		return err
	}
}

// broken is the status of a call that ends without a whole message.
func broken(ctx context.Context, err error) error {
	if why := intake.Of(ctx).Why(); why != nil {
		return why.Status()
	}
	if over := ctx.Err(); over != nil {
		return status.FromContextError(over).Err()
	}
	if told, is := status.FromError(err); is {
		return told.Err()
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return status.Error(codes.Internal, "the call ended before its message")
	}
	return status.Error(codes.Internal, err.Error())
}

// libraryStream is a stream of a handler that is a library's: its messages are short ones, and its replies have to be
// read.
type libraryStream struct {
	grpc.ServerStream
	ctx  context.Context
	call *intake.Call
}

func (s *libraryStream) Context() context.Context { return s.ctx }

func (s *libraryStream) RecvMsg(into any) error {
	message, is := into.(proto.Message)
	if !is {
		return refusal.Internal("a library reads something that is no protobuf").Status()
	}
	_, err := receiveShort(s.ServerStream.Context(), longestRequest, message)
	s.call.Arrived()
	s.call.Admitted()
	if err == io.EOF {
		return err
	}
	if err != nil {
		return broken(s.ServerStream.Context(), err)
	}
	return nil
}

func (s *libraryStream) SendMsg(message any) error {
	s.call.Sending(true)
	defer s.call.Sending(false)
	return s.ServerStream.SendMsg(message)
}
