package security

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// fairListener leaves room for others when one address opens connections without end: an address may hold half of all
// connections, and the machine itself, behind whose address a proxy may stand for every client, seven eighths.
//
// Where there is no place for one more, the connection that was of no use for the longest time gives up its own: of the
// whole table one of the address that holds most, of an address's share one of its own; first those that nobody ever made
// a call on who may. Where all are in use, one more of
// an address that has its share is closed at once, since an address shows only after a connection was accepted, and one
// more than the table holds waits.
type fairListener struct {
	net.Listener
	most    int
	mutex   sync.Mutex
	room    *sync.Cond
	held    map[netip.Prefix]*neighbours
	open    map[*Place]struct{}
	closed  bool
	refused atomic.Int64
	evicted atomic.Int64
}

func newFairListener(inner net.Listener, most int) *fairListener {
	l := &fairListener{Listener: inner, most: most, held: map[netip.Prefix]*neighbours{}, open: map[*Place]struct{}{}}
	l.room = sync.NewCond(&l.mutex)
	return l
}

// Refused is how many connections were closed because their address had its share.
func (l *fairListener) Refused() int64 { return l.refused.Load() }

// Evicted is how many connections gave up their place.
func (l *fairListener) Evicted() int64 { return l.evicted.Load() }

// Open is how many connections are open.
func (l *fairListener) Open() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.open)
}

// Accept waits for a connection that has a place.
func (l *fairListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		place := &Place{Conn: conn, listener: l, from: Neighbourhood(conn.RemoteAddr())}
		place.Touch()
		if l.take(place) {
			return place, nil
		}
		l.refused.Add(1)
		conn.Close()
	}
}

// Close lets nobody in any more, also who waits for a place.
func (l *fairListener) Close() error {
	l.mutex.Lock()
	l.closed = true
	l.room.Broadcast()
	l.mutex.Unlock()
	return l.Listener.Close()
}

func (l *fairListener) take(place *Place) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for !l.closed {
		share := l.count(place.from) >= int(Part(place.from, int64(l.most)))
		if !share && len(l.open) < l.most {
			l.enter(place)
			return true
		}
		idle := l.idle(place.from, share)
		switch {
		case idle != nil:
			l.evicted.Add(1)
			l.give(idle)
			_ = idle.Conn.Close()
		case share:
			return false
		default:
			l.room.Wait()
		}
	}
	return false
}

// neighbours are the connections of an address. Strangers, on which no call was welcome yet, stand in the order of their
// last use as far as it was looked at: a flood of connections is found its place without looking at all others.
type neighbours struct {
	count     int
	strangers list.List
}

func (l *fairListener) count(from netip.Prefix) int {
	if there := l.held[from]; there != nil {
		return there.count
	}
	return 0
}

func (l *fairListener) enter(place *Place) {
	there := l.held[place.from]
	if there == nil {
		there = new(neighbours)
		l.held[place.from] = there
	}
	there.count++
	l.open[place] = struct{}{}
	if !place.known.Load() {
		place.seen = place.last.Load()
		place.stranger = there.strangers.PushBack(place)
	}
}

// idle is who gives up a place: of an address's own, or of all.
func (l *fairListener) idle(from netip.Prefix, own bool) *Place {
	if own {
		if found := l.held[from].idlest(); found != nil {
			return found
		}
	} else {
		var found *Place
		for _, there := range l.held {
			if found == nil || there.count > l.count(found.from) {
				if place := there.idlest(); place != nil {
					found = place
				}
			}
		}
		if found != nil {
			return found
		}
	}
	var found *Place
	for place := range l.open {
		if place.calls.Load() > 0 || own && place.from != from {
			continue
		}
		if found == nil || l.count(place.from) > l.count(found.from) ||
			l.count(place.from) == l.count(found.from) && place.last.Load() < found.last.Load() {
			found = place
		}
	}
	return found
}

// idlest is the stranger that was of no use for the longest time.
func (n *neighbours) idlest() *Place {
	for element := n.strangers.Front(); element != nil; element = n.strangers.Front() {
		place := element.Value.(*Place)
		last := place.last.Load()
		if last == place.seen {
			return place
		}
		place.seen = last
		n.strangers.MoveToBack(element)
	}
	return nil
}

// acquainted says that a place is no stranger's any more.
func (l *fairListener) acquainted(place *Place) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.forgetStranger(place)
}

func (l *fairListener) forgetStranger(place *Place) {
	if place.stranger != nil {
		l.held[place.from].strangers.Remove(place.stranger)
		place.stranger = nil
	}
}

func (l *fairListener) give(place *Place) {
	if _, open := l.open[place]; !open {
		return
	}
	delete(l.open, place)
	l.forgetStranger(place)
	there := l.held[place.from]
	if there.count--; there.count == 0 {
		delete(l.held, place.from)
	}
	l.room.Signal()
}

// Part is how much of something one neighbourhood may have.
func Part(of netip.Prefix, whole int64) int64 {
	if of.Addr().IsLoopback() {
		return whole - whole/8
	}
	return whole - whole/2
}

// Neighbourhood is whom an address counts for: itself in IPv4, its network of 64 bits in IPv6, where every host has
// addresses without end.
func Neighbourhood(of net.Addr) netip.Prefix {
	at, ok := of.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.Prefix{}
	}
	address := at.AddrPort().Addr().Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() && !address.IsLoopback() {
		bits = 64
	}
	return netip.PrefixFrom(address, bits).Masked()
}

// Place is a connection's place in the table. It gives it back when it is closed, once.
type Place struct {
	net.Conn
	listener *fairListener
	from     netip.Prefix
	calls    atomic.Int32
	last     atomic.Int64 // nanoseconds
	known    atomic.Bool

	// The listener's, under its mutex.
	stranger *list.Element // nil: it is none
	seen     int64         // its last use when it was put there
}

// PlaceOf finds a connection's place below what was wrapped around it; nil: it has none.
func PlaceOf(conn net.Conn) *Place {
	for {
		if place, is := conn.(*Place); is {
			return place
		}
		wrapped, is := conn.(interface{ NetConn() net.Conn })
		if !is {
			return nil
		}
		conn = wrapped.NetConn()
	}
}

// NetConn is the connection itself.
func (p *Place) NetConn() net.Conn { return p.Conn }

// Enter says that a caller who may call does so: until Leave the connection keeps its place. Both may be told of nil.
func (p *Place) Enter() {
	if p != nil {
		p.calls.Add(1)
		if !p.known.Swap(true) {
			p.listener.acquainted(p)
		}
	}
}

// Leave ends what Enter began.
func (p *Place) Leave() {
	if p != nil {
		p.Touch()
		p.calls.Add(-1)
	}
}

// Touch says that the connection was of use just now.
func (p *Place) Touch() {
	if p != nil {
		p.last.Store(time.Now().UnixNano())
	}
}

// Close closes the connection and frees its place.
func (p *Place) Close() error {
	// The place first: whoever is accepted in it may come from the same address.
	p.listener.mutex.Lock()
	p.listener.give(p)
	p.listener.mutex.Unlock()
	return p.Conn.Close()
}
