package service

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// frame is a message that passes through unread: the worker parses it.
type frame struct {
	data mem.BufferSlice
}

// codec is protobuf's for replies, except that frames pass as they are; messages are received without it.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(message any) (mem.BufferSlice, error) {
	switch message := message.(type) {
	case *frame:
		return message.data, nil
	case proto.Message:
		data, err := proto.Marshal(message)
		return mem.BufferSlice{mem.SliceBuffer(data)}, err
	}
	return nil, fmt.Errorf("cannot send a %T", message)
}

func (codec) Unmarshal(_ mem.BufferSlice, into any) error {
	return fmt.Errorf("cannot receive a %T", into)
}
