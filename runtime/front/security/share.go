package security

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// fairListener leaves room for others when one address opens connections without end: an address may hold half of all
// connections, and the machine itself, behind whose address a proxy may stand for every client, seven eighths. What
// is above is closed at once, since an address shows only after a connection was accepted and a connection that waits
// would hold one of the places it must not take.
type fairListener struct {
	net.Listener
	most    int
	mutex   sync.Mutex
	held    map[netip.Prefix]int
	refused atomic.Int64
}

func newFairListener(inner net.Listener, most int) *fairListener {
	return &fairListener{Listener: inner, most: most, held: map[netip.Prefix]int{}}
}

// Refused is how many connections were closed because their address had its share.
func (l *fairListener) Refused() int64 { return l.refused.Load() }

// Open is how many connections are open.
func (l *fairListener) Open() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	open := 0
	for _, held := range l.held {
		open += held
	}
	return open
}

// Accept waits for a connection whose address has not its share yet.
func (l *fairListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := neighbourhood(conn.RemoteAddr())
		if l.take(from) {
			return &countedConn{Conn: conn, release: sync.OnceFunc(func() { l.give(from) })}, nil
		}
		l.refused.Add(1)
		conn.Close()
	}
}

// share is how many connections one neighbourhood may hold.
func (l *fairListener) share(of netip.Prefix) int {
	if of.Addr().IsLoopback() {
		return l.most - l.most/8
	}
	return l.most - l.most/2
}

func (l *fairListener) take(from netip.Prefix) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.held[from] >= l.share(from) {
		return false
	}
	l.held[from]++
	return true
}

func (l *fairListener) give(from netip.Prefix) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.held[from]--; l.held[from] == 0 {
		delete(l.held, from)
	}
}

// neighbourhood is whom an address counts for: itself in IPv4, its network of 64 bits in IPv6, where every host has
// addresses without end.
func neighbourhood(of net.Addr) netip.Prefix {
	tcp, ok := of.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	address := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() && !address.IsLoopback() {
		bits = 64
	}
	return netip.PrefixFrom(address, bits).Masked()
}

// countedConn gives its place back when it is closed, once.
type countedConn struct {
	net.Conn
	release func()
}

// Close closes the connection and frees its place.
func (c *countedConn) Close() error {
	// The share first: whoever is accepted in the place of this connection may come from the same address.
	c.release()
	return c.Conn.Close()
}
