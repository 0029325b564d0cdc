package intake

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// bufferSize is what is read at once; the buffers are shared, and a connection that waits has none.
const bufferSize = 128 << 10

var buffers = sync.Pool{New: func() any {
	made := make([]byte, bufferSize)
	return &made
}}

// reader reads a connection in large pieces without keeping a buffer for it while nothing comes. Where the system's own
// socket does not show, below TLS, it leaves the pieces to the connection, which has them by records.
type reader struct {
	conn    net.Conn
	raw     syscall.RawConn // nil: not to be had
	buffer  *[]byte         // nil while there is nothing in it
	start   int
	end     int
	failed  error
	isReady func(descriptor uintptr) bool
}

func newReader(conn net.Conn) reader {
	r := reader{conn: conn}
	for inner := conn; ; {
		if socket, is := inner.(syscall.Conn); is {
			r.raw, _ = socket.SyscallConn()
			break
		}
		wrapped, is := inner.(interface{ NetConn() net.Conn })
		if _, secret := inner.(interface{ Handshake() error }); !is || secret {
			break
		}
		inner = wrapped.NetConn()
	}
	return r
}

func (r *reader) read(into []byte) (int, error) {
	if r.start == r.end {
		if r.raw == nil {
			return r.conn.Read(into)
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	count := copy(into, (*r.buffer)[r.start:r.end])
	if r.start += count; r.start == r.end {
		r.release()
	}
	return count, nil
}

func (r *reader) release() {
	if r.buffer != nil {
		buffers.Put(r.buffer)
		r.buffer = nil
	}
	r.start, r.end = 0, 0
}

// fill waits until there is something to read, and only then takes a buffer.
func (r *reader) fill() error {
	if r.isReady == nil {
		r.isReady = r.ready // once, as every such value is an allocation
	}
	r.failed = nil
	if err := r.raw.Read(r.isReady); err != nil {
		return err
	}
	return r.failed
}

func (r *reader) ready(descriptor uintptr) bool {
	buffer := buffers.Get().(*[]byte)
	var count int
	var err error
	for {
		if count, err = unix.Read(int(descriptor), *buffer); err != unix.EINTR {
			break
		}
	}
	if count > 0 {
		r.buffer, r.end = buffer, count
		return true
	}
	buffers.Put(buffer)
	switch err {
	case unix.EAGAIN:
		return false
	case nil:
		r.failed = io.EOF
	default:
		r.failed = os.NewSyscallError("read", err)
	}
	return true
}
