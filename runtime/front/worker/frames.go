// Package worker runs one model in a process of its own and talks to it over a socket pair.
//
// The other side is accelform_runtime/worker. A frame is a header of 24 bytes (kind, length of meta, id, length of body;
// little-endian), meta as a JSON object, and the body as it is.
package worker

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc/mem"
)

// Kind tells what a frame is for.
type Kind uint32

// Load, Run, Continue, Drop and Ping go to the worker; the others are its answers, one for each of them but Drop.
const (
	Load     Kind = 0
	Run      Kind = 1
	Continue Kind = 2
	Drop     Kind = 3
	Ping     Kind = 4

	Ready    Kind = 16
	Failed   Kind = 17
	Done     Kind = 18
	Progress Kind = 19
	Refused  Kind = 20
	Pong     Kind = 21
)

const (
	headerBytes = 24
	maxMeta     = 1 << 20
	maxBody     = 1 << 30
)

// Frame is one message; Meta is JSON as it came.
type Frame struct {
	Kind Kind
	ID   uint64
	Meta []byte
	Body mem.BufferSlice
}

// Decode reads the frame's meta into `into`.
func (f *Frame) Decode(into any) error {
	if err := json.Unmarshal(f.Meta, into); err != nil {
		return fmt.Errorf("a frame of kind %d has no usable meta: %w", f.Kind, err)
	}
	return nil
}

func write(to io.Writer, kind Kind, id uint64, meta []byte, body mem.BufferSlice) error {
	head := make([]byte, headerBytes, headerBytes+len(meta))
	binary.LittleEndian.PutUint32(head, uint32(kind))
	binary.LittleEndian.PutUint32(head[4:], uint32(len(meta)))
	binary.LittleEndian.PutUint64(head[8:], id)
	binary.LittleEndian.PutUint64(head[16:], uint64(body.Len()))
	// One gather write: the message's bytes are copied by the kernel and nowhere else.
	parts := make(net.Buffers, 0, 1+len(body))
	parts = append(parts, append(head, meta...))
	for _, part := range body {
		parts = append(parts, part.ReadOnlyData())
	}
	_, err := parts.WriteTo(to)
	return err
}

func read(from *bufio.Reader) (*Frame, error) {
	var head [headerBytes]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	meta := binary.LittleEndian.Uint32(head[4:])
	body := binary.LittleEndian.Uint64(head[16:])
	if meta > maxMeta || body > maxBody {
		return nil, fmt.Errorf("a frame announces %d bytes of meta and %d of body; at most %d and %d are taken",
			meta, body, maxMeta, maxBody)
	}
	frame := &Frame{
		Kind: Kind(binary.LittleEndian.Uint32(head[:])),
		ID:   binary.LittleEndian.Uint64(head[8:]),
		Meta: make([]byte, meta),
	}
	if _, err := io.ReadFull(from, frame.Meta); err != nil {
		return nil, err
	}
	if body > 0 {
		pool := mem.DefaultBufferPool()
		data := pool.Get(int(body))
		if _, err := io.ReadFull(from, *data); err != nil {
			pool.Put(data)
			return nil, err
		}
		frame.Body = mem.BufferSlice{mem.NewBuffer(data, pool)}
	}
	return frame, nil
}
