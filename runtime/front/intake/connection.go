package intake

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"accelform/front/security"
)

const (
	// A frame costs more than its bytes, and a call more than its headers.
	frameCost = 64
	callCost  = 4 << 10
	// ahead is what is read of a peer that does not read.
	ahead = 64 << 10
	// leaving is how long a call that was refused for what it holds has to end before it is taken out by force.
	leaving = time.Second
	// stuckAtMost is how many looks a connection gets to come to the end of a frame.
	stuckAtMost = 10
)

// connection is one HTTP/2 connection, from gRPC's side of TLS. It reads the heads of frames as they pass, in both
// directions, and so knows which calls there are, and what each of them holds. gRPC has to read it without a buffer of
// its own: a call's headers are then the last frame that was read when gRPC's tap tells of them.
type connection struct {
	net.Conn
	door    *Door
	account *Account
	place   *security.Place // nil: it has none
	remote  address
	timer   *time.Timer

	// The reader's own.
	reader  reader
	skip    int    // bytes of the preface or of a frame's payload that are still to come
	given   []byte // what has to be handed out before anything else
	last    head   // the frame that was read last
	headers uint32 // the stream of the last HEADERS
	over    int    // bytes read while one write lasted
	during  int64  // and which write that was

	// The writer's own.
	sent   frames
	onSent func(*head)
	armed  time.Time // when its deadline was set

	pace   pace
	opened atomic.Bool  // calls have come: gRPC sets no deadlines of its own any more
	writes atomic.Int64 // odd while one is under way
	urgent atomic.Bool  // there are resets

	mutex    sync.Mutex
	writable *sync.Cond // the end of a write, or of a call that is waited for
	calls    map[uint32]*Call
	ticking  bool
	closed   bool
	woken    bool      // the reader was called for something else than bytes
	resets   []uint32  // calls that are to be taken out
	stuck    int       // how often it was looked at since without being done
	block    Share     // of headers that are not whole
	blockEnd time.Time // when they have to be; zero: there are none
}

// address is a connection's peer, by which a call finds its connection.
type address struct {
	net.Addr
	conn *connection
}

var errAbused = errors.New("the peer made the connection hold more than it may")

func (d *Door) wrap(conn net.Conn) *connection {
	c := &connection{
		Conn: conn, door: d, reader: newReader(conn), skip: prefaceSize, calls: map[uint32]*Call{},
	}
	c.account = d.ledger.Join(conn.RemoteAddr())
	c.pace.purse = &c.account.purse
	c.pace.earn(-connectionUnits)
	c.block = c.account.Share()
	c.remote = address{conn.RemoteAddr(), c}
	c.writable = sync.NewCond(&c.mutex)
	c.onSent = c.told
	c.place = security.PlaceOf(conn)
	return c
}

func (c *connection) RemoteAddr() net.Addr { return &c.remote }

// NetConn is the connection below.
func (c *connection) NetConn() net.Conn { return c.Conn }

// Close forgets all calls.
func (c *connection) Close() error {
	err := c.Conn.Close()
	c.mutex.Lock()
	if !c.closed {
		c.closed = true
		for _, call := range c.calls {
			c.forget(call)
		}
		c.block.Free()
		if c.timer != nil {
			c.timer.Stop()
		}
		c.account.Leave()
		c.writable.Broadcast()
	}
	c.mutex.Unlock()
	return err
}

// Read hands out what came, never more than the rest of one frame.
func (c *connection) Read(into []byte) (int, error) {
	if len(into) == 0 {
		return 0, nil
	}
	for {
		if len(c.given) > 0 {
			count := copy(into, c.given)
			c.given = c.given[count:]
			return count, nil
		}
		if c.skip > 0 {
			count, err := c.await(into[:min(len(into), c.skip)])
			c.skip -= count
			return count, err
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
}

// await reads bytes; other reasons to wake the reader are seen to between frames.
func (c *connection) await(into []byte) (int, error) {
	for {
		count, err := c.reader.read(into)
		if count > 0 || !c.onlyWoken(err) {
			return count, err
		}
	}
}

// onlyWoken is whether a read was interrupted, and can go on.
func (c *connection) onlyWoken(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.woken {
		return false
	}
	c.woken = false
	return c.Conn.SetReadDeadline(time.Time{}) == nil
}

// next reads a frame's head, and makes it, and what has to come before it, ready to be handed out.
func (c *connection) next() error {
	if err := c.notAhead(); err != nil {
		return err
	}
	for have := 0; have < headSize; {
		if have == 0 && c.urgent.Swap(false) {
			if c.given = c.takenOut(); len(c.given) > 0 {
				return nil
			}
		}
		count, err := c.reader.read(c.last[have:])
		have += count
		if count == 0 && err != nil && !c.onlyWoken(err) {
			if have > 0 && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	c.skip = c.last.length()
	if c.last.kind() != typeData {
		time.Sleep(c.pace.spend(frameUnits, time.Now))
	}
	first, err := c.seen()
	if err != nil {
		return err
	}
	if c.given = c.last[:]; len(first) > 0 {
		c.given = append(first, c.given...)
	}
	return nil
}

// seen looks at a frame that begins; what it returns are frames to be read first.
func (c *connection) seen() ([]byte, error) {
	stream := c.last.stream()
	switch c.last.kind() {
	case typeData:
		return c.data(stream)
	case typeHeaders:
		c.headers = stream
		return nil, c.part()
	case typeContinuation:
		return nil, c.part()
	case typeResetStream:
		c.mutex.Lock()
		if call := c.calls[stream]; call != nil {
			c.forget(call)
		}
		c.mutex.Unlock()
	}
	return nil, nil
}

// part counts headers that come in several frames.
func (c *connection) part() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.last.has(flagEndHeaders) {
		c.block.Free()
		c.blockEnd = time.Time{}
		return nil
	}
	if !c.block.Take(2*c.last.length() + frameCost) {
		return errAbused
	}
	if c.blockEnd.IsZero() {
		c.blockEnd = time.Now().Add(c.door.headers)
		c.tick()
	}
	return nil
}

// data counts a frame of a message. Where there is no room for it the call is refused, and nothing more is read until
// the refusal is on its way.
func (c *connection) data(stream uint32) ([]byte, error) {
	length := c.last.length()
	c.mutex.Lock()
	call := c.calls[stream]
	if call == nil {
		c.mutex.Unlock()
		time.Sleep(c.pace.spend(droppedUnits, time.Now))
		return nil, nil // gRPC drops it
	}
	defer c.mutex.Unlock()
	call.received += length
	if call.tailed() {
		call.end(tail)
	} else if call.share.Take(length + frameCost) {
		return nil, nil
	} else {
		call.end(Full())
	}
	stop := time.AfterFunc(leaving, func() {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		call.overdue = true
		c.writable.Broadcast()
	})
	defer stop.Stop()
	for !call.forgotten && !call.overdue && !c.closed {
		c.writable.Wait()
	}
	if call.forgotten {
		return nil, nil
	}
	c.forget(call)
	return reset(stream), nil
}

// takenOut are frames that end calls whose time is over.
func (c *connection) takenOut() []byte {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var found []byte
	for _, stream := range c.resets {
		if call := c.calls[stream]; call != nil {
			c.forget(call)
			found = append(found, reset(stream)...)
		}
	}
	c.resets, c.stuck = nil, 0
	return found
}

// notAhead waits while the peer takes nothing of what it is sent, and has sent a lot meanwhile: gRPC would keep notes of
// every frame until it can answer.
func (c *connection) notAhead() error {
	now := c.writes.Load()
	if now&1 == 0 || now != c.during {
		c.during, c.over = now, 0
		return nil
	}
	if c.over += c.last.length() + headSize; c.over < ahead {
		return nil
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for c.writes.Load() == now && !c.closed {
		c.writable.Wait()
	}
	if c.closed {
		return net.ErrClosed
	}
	return nil
}

// Write sends frames; a peer that takes none of them for too long is hung up on.
func (c *connection) Write(bytes []byte) (int, error) {
	now := time.Now()
	if c.opened.Load() && now.Sub(c.armed) > c.door.patience/8 {
		c.armed = now
		_ = c.Conn.SetWriteDeadline(now.Add(c.door.patience + c.door.patience/8))
	}
	number := c.writes.Add(1)
	count, err := c.Conn.Write(bytes)
	if err != nil {
		_ = c.Conn.Close() // gRPC leaves it to its reader to find out
	}
	c.writes.Store(number + 1)
	c.pace.earn(count / bytesOfUnit)
	c.mutex.Lock()
	c.sent.each(bytes[:count], c.onSent)
	c.writable.Broadcast()
	c.mutex.Unlock()
	return count, err
}

// told looks at a frame that was sent.
func (c *connection) told(frame *head) {
	if frame.kind() == typeResetStream || frame.kind() == typeHeaders && frame.has(flagEndStream) {
		if call := c.calls[frame.stream()]; call != nil {
			c.forget(call)
		}
	}
}

// forget ends a call's account: gRPC holds nothing of it any more. The mutex is held.
func (c *connection) forget(call *Call) {
	delete(c.calls, call.stream)
	call.forgotten = true
	if !call.begun || call.ended {
		call.share.Free()
	}
	c.writable.Broadcast()
}

// tick makes sure that time is looked at while there is something it could end. The mutex is held.
func (c *connection) tick() {
	if c.ticking || c.closed {
		return
	}
	c.ticking = true
	if c.timer == nil {
		c.timer = time.AfterFunc(c.door.look, c.look)
	} else {
		c.timer.Reset(c.door.look)
	}
}

// look ends what took too long.
func (c *connection) look() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.ticking = false
	if c.closed {
		return
	}
	now := time.Now()
	if !c.blockEnd.IsZero() && now.After(c.blockEnd) {
		_ = c.Conn.SetReadDeadline(now) // nobody woke the reader: its connection ends
		return
	}
	if len(c.resets) > 0 {
		if c.stuck++; c.stuck > stuckAtMost {
			_ = c.Conn.Close() // it stopped within a frame
			return
		}
	}
	late := false
	for stream, call := range c.calls {
		if call.late.IsZero() || now.Before(call.late) {
			continue
		}
		if call.replying {
			c.resets = append(c.resets, stream)
			late = true
		} else {
			call.end(tooSlow)
		}
		call.late = time.Time{}
	}
	if late {
		c.urgent.Store(true)
		c.woken = true
		_ = c.Conn.SetReadDeadline(now)
	}
	if len(c.calls) > 0 || !c.blockEnd.IsZero() {
		c.tick()
	}
}
