package intake

import "encoding/binary"

// HTTP/2's frames (RFC 9113), as far as they say what is held, and for how long.

const (
	prefaceSize = 24
	headSize    = 9

	typeData         = 0x0
	typeHeaders      = 0x1
	typeResetStream  = 0x3
	typeContinuation = 0x9

	flagEndStream  = 0x1
	flagEndHeaders = 0x4

	codeCancel = 8
)

// head is a frame's first bytes.
type head [headSize]byte

func (h *head) length() int { return int(h[0])<<16 | int(h[1])<<8 | int(h[2]) }

func (h *head) kind() byte { return h[3] }

func (h *head) has(flag byte) bool { return h[4]&flag != 0 }

func (h *head) stream() uint32 { return binary.BigEndian.Uint32(h[5:]) &^ (1 << 31) }

// reset is the frame by which a peer takes a call back.
func reset(stream uint32) []byte {
	frame := []byte{0, 0, 4, typeResetStream, 0, 0, 0, 0, 0, 0, 0, 0, codeCancel}
	binary.BigEndian.PutUint32(frame[5:], stream)
	return frame
}

// frames finds the heads in a stream of bytes that comes in pieces of any size.
type frames struct {
	head head
	have int // bytes of the head
	skip int // bytes until the next head
}

// each calls `tell` with every head that is whole with these bytes.
func (f *frames) each(bytes []byte, tell func(*head)) {
	for len(bytes) > 0 {
		if f.skip > 0 {
			passed := min(f.skip, len(bytes))
			f.skip -= passed
			bytes = bytes[passed:]
			continue
		}
		copied := copy(f.head[f.have:], bytes)
		f.have += copied
		bytes = bytes[copied:]
		if f.have == headSize {
			f.have, f.skip = 0, f.head.length()
			tell(&f.head)
		}
	}
}
