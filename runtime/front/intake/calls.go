package intake

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"accelform/front/refusal"
)

const (
	// LongestHeaders is what a call's metadata may have, counted as HTTP/2 does: names, values and 32 bytes for each.
	LongestHeaders = 16 << 10
	// TransportHeaders is what gRPC reads of headers, to be able to say that they are too long; it resets longer ones.
	TransportHeaders = 4 * LongestHeaders
	// A name and its value take a place in a map besides; small ones cost several times their bytes.
	headerCost = 128
)

// Door is one port's way in. Its numbers hold for each of its connections.
type Door struct {
	ledger   *Ledger
	headers  time.Duration // for headers in several frames
	patience time.Duration // for a message to arrive, and for a reply to be read
	look     time.Duration
}

// NewDoor makes a way in. Messages and replies get `patience` each, headers in several frames `headers`.
func NewDoor(ledger *Ledger, headers, patience time.Duration) *Door {
	return &Door{
		ledger: ledger, headers: headers, patience: patience,
		look: max(min(patience/10, headers/10, time.Second), time.Millisecond),
	}
}

// Credentials are gRPC's credentials, nil for none, of connections that are looked at.
func (d *Door) Credentials(inner credentials.TransportCredentials) credentials.TransportCredentials {
	if inner == nil {
		inner = insecure.NewCredentials()
	}
	return &watching{inner, d}
}

type watching struct {
	credentials.TransportCredentials
	door *Door
}

func (w *watching) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return conn, info, err
	}
	return w.door.wrap(conn), info, nil
}

// Call is what a call holds and how much time it has.
type Call struct {
	conn   *connection
	stream uint32
	cancel context.CancelFunc
	why    atomic.Pointer[refusal.Refusal]

	// Of the connection's mutex.
	share     Share
	late      time.Time // when its present step has to be over; zero: whenever
	replying  bool      // that step is its reply's
	received  int       // bytes of DATA
	made      int       // bytes that were made of it
	whole     int       // how many of them the message took, after which no more may come; 0: more may
	begun     bool      // somebody looks after it
	ended     bool      // and does no longer
	forgotten bool      // gRPC holds nothing of it
	overdue   bool

	welcome bool // of the handler's goroutine
}

type callKey struct{}

// Of is the call of a context, nil for one that did not come by a Door.
func Of(ctx context.Context) *Call {
	call, _ := ctx.Value(callKey{}).(*Call)
	return call
}

// Tap is gRPC's tap: a call's headers are there, and gRPC's reader waits.
func (d *Door) Tap(ctx context.Context, about *tap.Info) (context.Context, error) {
	name := about.FullMethodName
	if !strings.HasPrefix(name, "/") || strings.LastIndexByte(name, '/') < 1 {
		// gRPC would answer without any handler, so that nobody would say that the call is over.
		return ctx, refusal.New(codes.Unimplemented, "a method's name is /SERVICE/METHOD").Status()
	}
	size, cost := sizeOf(about.Header)
	if size > LongestHeaders {
		return ctx, refusal.New(codes.ResourceExhausted,
			"the call's metadata has %d bytes, of %d that the service takes; send less", size, LongestHeaders).Status()
	}
	from, known := peer.FromContext(ctx)
	if !known {
		return ctx, nil
	}
	remote, ours := from.Addr.(*address)
	if !ours {
		return ctx, nil
	}
	c := remote.conn
	ctx, cancel := context.WithCancel(ctx) // gRPC ends its own context, and so this one, with the call
	call := &Call{conn: c, stream: c.headers, cancel: cancel, share: c.account.Share(), late: time.Now().Add(d.patience)}
	c.opened.Store(true)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !call.share.Take(callCost + cost + len(name)) {
		cancel()
		return ctx, Full().Status()
	}
	if c.closed {
		call.share.Free()
	} else {
		c.calls[call.stream] = call
		c.tick()
	}
	return context.WithValue(ctx, callKey{}, call), nil
}

func sizeOf(headers metadata.MD) (size, cost int) {
	for name, values := range headers {
		for _, value := range values {
			size += len(name) + len(value) + 32
			cost += len(name) + len(value) + headerCost
		}
	}
	return size, cost
}

// Full refuses what there is no room for.
func Full() *refusal.Refusal {
	refused := refusal.New(codes.ResourceExhausted,
		"the service holds as many bytes of requests as it may; ask again a little later")
	refused.RetryAfter = time.Second
	return refused
}

var tooSlow = refusal.New(codes.DeadlineExceeded,
	"the request did not arrive in the time that the service gives it; send it faster")

// end ends a call that nobody wants to read on; the first reason counts.
func (c *Call) end(why *refusal.Refusal) {
	c.why.CompareAndSwap(nil, why)
	c.cancel()
}

// Why is what the call was ended for, nil if it was not ended here.
func (c *Call) Why() *refusal.Refusal {
	if c == nil {
		return nil
	}
	return c.why.Load()
}

// change makes a change under the connection's mutex.
func (c *Call) change(made func()) {
	if c == nil {
		return
	}
	c.conn.mutex.Lock()
	defer c.conn.mutex.Unlock()
	made()
}

// Welcome says that who calls may do so: the connection keeps its place until End.
func (c *Call) Welcome() {
	if c != nil {
		c.welcome = true
		c.conn.place.Enter()
	}
}

// From is the address that the call counts for, or its network of IPv6.
func (c *Call) From() netip.Prefix {
	if c == nil {
		return netip.Prefix{}
	}
	return c.conn.account.from
}

// Useful says that the call did its work, or that it was not its caller's fault: more like it are welcome.
func (c *Call) Useful() {
	if c != nil {
		c.conn.pace.earn(answerUnits)
	}
}

// Useless says that the call was refused for what its message was: reading it was work for nothing.
func (c *Call) Useless() {
	c.change(func() { c.conn.pace.earn(-min(max(c.received, c.made)/bytesOfUselessUnit, mostUselessUnits)) })
}

// Begin says that the call has a handler, which will say End.
func (c *Call) Begin() { c.change(func() { c.begun = true }) }

// End says that the call's handler is over: what is left is to be read by the peer.
func (c *Call) End() {
	if c != nil && c.welcome {
		c.conn.place.Leave()
	} else if c != nil {
		c.conn.place.Touch()
	}
	c.change(func() {
		c.ended = true
		if c.forgotten {
			c.share.Free()
			return
		}
		c.replying, c.late = true, time.Now().Add(c.conn.door.patience)
	})
}

// Arrived says that the message is there: its time counts no longer.
func (c *Call) Arrived() { c.change(func() { c.late = time.Time{} }) }

// Whole says that a message of that length was read, and that no more may come.
func (c *Call) Whole(length int) {
	c.change(func() {
		c.late, c.whole = time.Time{}, length+prefix
		if c.tailed() {
			c.end(tail)
		}
	})
}

// prefix is what gRPC puts before a message.
const prefix = 5

var tail = refusal.New(codes.InvalidArgument, "this call takes one message, and more came after it; end it instead")

// tailed is whether more came than may; a little is the padding that HTTP/2 allows.
func (c *Call) tailed() bool { return c.whole > 0 && c.received-c.whole > padding }

const padding = 1 << 10

// Admitted says that what the call holds is bounded elsewhere from now on.
func (c *Call) Admitted() { c.change(func() { c.share.Free() }) }

// Sending says that a reply begins, or, with false, that gRPC has taken it.
func (c *Call) Sending(yes bool) {
	c.change(func() {
		c.replying, c.late = yes, time.Time{}
		if yes {
			c.late = time.Now().Add(c.conn.door.patience)
		}
	})
}

// Take counts bytes that a handler makes of the message; false: there are too many.
func (c *Call) Take(more int) (taken bool) {
	taken = true
	c.change(func() {
		c.made += more
		taken = c.share.Take(more)
	})
	return taken
}

// Room is whether a message of that length could be taken in, as things stand.
func (c *Call) Room(length int) (there bool) {
	there = true
	c.change(func() { there = c.share.account.room(int64(length), c.share.size) })
	return there
}
