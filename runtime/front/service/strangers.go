package service

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Who has no key may ask for health, and must not cost what a call with a key may: the messages of hundreds of calls on
// each of many connections, each as long as an image, would take all memory there is.
const (
	longestQuestion = 4 << 10
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

// wireStream is gRPC's own side of a call. Its reader, unlike RecvMsg, shows a message's length before making room.
type wireStream interface {
	ReadMessageHeader(header []byte) error
	Read(count int) (mem.BufferSlice, error)
	RecvCompress() string
}

// receiveShort reads a message of at most longestQuestion bytes, also when it is inflated.
func receiveShort(stream grpc.ServerStream, into proto.Message) error {
	wire, is := grpc.ServerTransportStreamFromContext(stream.Context()).(wireStream)
	if !is {
		return stream.RecvMsg(into)
	}
	var header [5]byte
	if err := wire.ReadMessageHeader(header[:]); err != nil {
		return broken(err)
	}
	length := binary.BigEndian.Uint32(header[1:])
	if length > longestQuestion {
		return tooLong()
	}
	data, err := wire.Read(int(length))
	if err != nil {
		return broken(err)
	}
	content := data.Materialize()
	data.Free()
	if header[0] != 0 {
		if content, err = inflated(content, wire.RecvCompress()); err != nil {
			return err
		}
	}
	if proto.Unmarshal(content, into) != nil {
		return status.Error(codes.InvalidArgument, "the message is not a HealthCheckRequest")
	}
	return nil
}

func inflated(content []byte, by string) ([]byte, error) {
	if by != gzip.Name {
		return nil, status.Error(codes.Unimplemented, "messages may be compressed with gzip only")
	}
	source, err := encoding.GetCompressor(by).Decompress(bytes.NewReader(content))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "the message is not compressed as it claims")
	}
	found, err := io.ReadAll(io.LimitReader(source, longestQuestion+1))
	switch {
	case err != nil:
		return nil, status.Error(codes.InvalidArgument, "the message is not compressed as it claims")
	case len(found) > longestQuestion:
		return nil, tooLong()
	}
	return found, nil
}

func tooMany() error {
	return status.Errorf(codes.ResourceExhausted,
		"%d health calls are open, more than %d of them on this connection; end one first", questionsInAll, questionsAnyway)
}

func tooLong() error {
	return status.Errorf(codes.ResourceExhausted, "a question for health has at most %d bytes", longestQuestion)
}

// broken is what a call without a whole message ends with.
func broken(err error) error {
	if told, is := status.FromError(err); is {
		return told.Err()
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return status.Error(codes.InvalidArgument, "the call ended before its message")
	}
	return status.FromContextError(err).Err()
}
