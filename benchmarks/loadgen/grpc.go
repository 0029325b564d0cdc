package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// replyLimit is the longest reply that is taken.
const replyLimit = 64 << 20

// bytesCodec sends and takes messages as the bytes they are.
type bytesCodec struct{}

// message is one serialised message.
type message struct{ data mem.BufferSlice }

// Marshal gives the bytes to be sent.
func (bytesCodec) Marshal(value any) (mem.BufferSlice, error) { return value.(*message).data, nil }

// Unmarshal keeps the bytes that came, until Free.
func (bytesCodec) Unmarshal(data mem.BufferSlice, value any) error {
	data.Ref()
	value.(*message).data = data
	return nil
}

// Name is what the content type says: the bytes are protobuf.
func (bytesCodec) Name() string { return "proto" }

type grpcCaller struct {
	connection *grpc.ClientConn
	method     string
	metadata   metadata.MD
	request    message
}

func dial(target string, security *tls.Config, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	credential := insecure.NewCredentials()
	if security != nil {
		credential = credentials.NewTLS(security)
	}
	options = append(options, grpc.WithTransportCredentials(credential), grpc.WithNoProxy())
	connection, err := grpc.NewClient("passthrough:///"+target, options...)
	if err != nil {
		return nil, fmt.Errorf("no connection to %s: %w", target, err)
	}
	return connection, nil
}

func newGRPCCaller(job Job, payload []byte, security *tls.Config) (Caller, error) {
	connection, err := dial(job.Target, security, grpc.WithDefaultCallOptions(
		grpc.ForceCodecV2(bytesCodec{}), grpc.MaxCallRecvMsgSize(replyLimit), grpc.WaitForReady(false)),
		grpc.WithDisableRetry())
	if err != nil {
		return nil, err
	}
	request := message{mem.BufferSlice{mem.SliceBuffer(payload)}}
	return &grpcCaller{connection, job.Method, metadata.New(job.Metadata), request}, nil
}

func (caller *grpcCaller) Call(ctx context.Context) Answer {
	var reply message
	err := caller.connection.Invoke(metadata.NewOutgoingContext(ctx, caller.metadata), caller.method, &caller.request, &reply)
	if err != nil {
		found := status.Convert(err)
		return Answer{Status: codeName(found.Code().String()), Problem: found.Message()}
	}
	defer reply.data.Free()
	return Answer{Status: OK, Bytes: reply.data.Len()}
}

func (caller *grpcCaller) Close() { _ = caller.connection.Close() }

var wordEnd = regexp.MustCompile("([a-z])([A-Z])")

// codeName turns ResourceExhausted into RESOURCE_EXHAUSTED, as gRPC writes it.
func codeName(name string) string {
	return strings.ToUpper(wordEnd.ReplaceAllString(name, "${1}_${2}"))
}
