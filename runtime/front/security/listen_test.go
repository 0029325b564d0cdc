package security

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds what has to happen; it is reached only when a test fails.
const patience = 10 * time.Second

func listening(t *testing.T, address string, most int) (net.Listener, int) {
	t.Helper()
	listener, err := Listen(address, 0, most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener, listener.Addr().(*net.TCPAddr).Port
}

// connect opens a connection to 127.0.0.1 from an address of this machine.
func connect(t *testing.T, from string, port int) net.Conn {
	t.Helper()
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// A second server on a port fails, and both learn from the message what to do.
func TestTakenPort(t *testing.T) {
	_, port := listening(t, "127.0.0.1", 1)
	_, err := Listen("127.0.0.1", port, 1)
	var found *Unusable
	want := fmt.Sprintf("cannot listen on 127.0.0.1:%d: address already in use; stop what listens there or configure another port", port)
	if !errors.As(err, &found) || found.Kind != "AddressUnavailable" || found.Message != want {
		t.Errorf("%v", err)
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the cause of %v is lost", err)
	}
	if _, err := Listen("0.0.0.0", port, 1); err == nil {
		t.Error("a server on all addresses takes a part of the port")
	}
}

// Addresses that are none of this machine's, or none at all, are told as such.
func TestImpossibleAddresses(t *testing.T) {
	for address, words := range map[string]string{
		"192.0.2.1": "configure an address of this machine", "localhost": "no IPv4 or IPv6 address", "": "no IPv4",
		"2001:db8::1": "cannot listen on [2001:db8::1]:0",
	} {
		_, err := Listen(address, 0, 1)
		var found *Unusable
		if !errors.As(err, &found) || found.Kind != KindAddress || !strings.Contains(found.Message, words) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// 0.0.0.0 takes IPv4 only; IPv6 addresses work where the machine has them.
func TestFamilies(t *testing.T) {
	listener, port := listening(t, "0.0.0.0", 4)
	connect(t, "127.0.0.1", port)
	if conn, err := listener.Accept(); err != nil || !conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Is4() {
		t.Errorf("%v", err)
	}
	six, err := Listen("::1", 0, 4)
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Skip("no IPv6 here")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer six.Close()
	conn, err := net.DialTimeout("tcp", six.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// arriving accepts connections as they come; the channel ends with the listener.
func arriving(listener net.Listener) <-chan *Place {
	accepted := make(chan *Place, 64)
	go func() {
		defer close(accepted)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn.(*Place)
		}
	}()
	return accepted
}

// While all connections are in use, one more waits until another ends; closing twice frees one place only.
func TestConnectionsWait(t *testing.T) {
	listener := newFairListener(nil, 2)
	made := func(from string) *Place {
		address := &net.TCPAddr{IP: net.ParseIP(from), Port: 1}
		place := &Place{Conn: &net.TCPConn{}, listener: listener, from: Neighbourhood(address)}
		place.Enter()
		return place
	}
	held := made("192.0.2.1")
	if !listener.take(held) || !listener.take(made("192.0.2.2")) {
		t.Fatal("two places hold no two connections")
	}
	taken := make(chan bool)
	for _, from := range []string{"192.0.2.3", "192.0.2.4"} {
		next := made(from)
		go func() { taken <- listener.take(next) }()
		select {
		case <-taken:
			t.Fatal("a connection above the limit has a place")
		case <-time.After(50 * time.Millisecond): // what must not happen has no event to wait for
		}
		_, _ = held.Close(), held.Close()
		select {
		case <-taken:
			held = next
		case <-time.After(patience):
			t.Fatal("a free place is not taken")
		}
	}
}

// A full table gives up the connection that was of no use for the longest time, of the address that holds most; what is
// in use stays.
func TestAFullTableGivesUpWhoIsIdle(t *testing.T) {
	listener, port := listening(t, "127.0.0.1", 8)
	accepted := arriving(listener)
	connect(t, "127.0.0.9", port)
	old := <-accepted // the oldest of all, of an address that holds one
	var many []*Place
	for at := range 7 {
		connect(t, "127.0.0.2", port)
		many = append(many, <-accepted)
		if at == 0 {
			many[0].Enter()
		}
	}
	many[1].Touch()
	for range 5 {
		connect(t, "127.0.0.3", port)
		<-accepted
	}
	gone := func(place *Place) bool {
		listener.(*fairListener).mutex.Lock()
		defer listener.(*fairListener).mutex.Unlock()
		_, open := listener.(*fairListener).open[place]
		return !open
	}
	if gone(old) || gone(many[0]) || gone(many[1]) || !gone(many[2]) || !gone(many[3]) {
		t.Error("others gave up their places than those that were idle longest")
	}
	if _, err := many[2].Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("who gave up a place reads %v", err)
	}
}

// A flood of idle connections from one address leaves room for another's.
func TestFloodLeavesRoom(t *testing.T) {
	listener, port := listening(t, "127.0.0.1", 16)
	others := make(chan net.Conn, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if strings.HasPrefix(conn.RemoteAddr().String(), "127.0.0.2:") {
				others <- conn
			}
		}
	}()
	for range 64 {
		connect(t, "127.0.0.1", port)
	}
	connect(t, "127.0.0.2", port)
	select {
	case <-others:
	case <-time.After(patience):
		t.Fatal("another address is not let in")
	}
	found := listener.(*fairListener)
	if refused, evicted := found.Refused(), found.Evicted(); refused != 0 || evicted != 64-14 {
		t.Errorf("of 64 idle connections %d were refused and %d gave up one of 16 places", refused, evicted)
	}
}

// An address of the network holds half of all connections, however many addresses a network of IPv6 has.
func TestShares(t *testing.T) {
	for _, sample := range []struct {
		most int
		from []string
		held int
	}{
		{1, []string{"192.0.2.1"}, 1},
		{2, []string{"192.0.2.1"}, 1},
		{9, []string{"192.0.2.1"}, 5},
		{1024, []string{"192.0.2.1"}, 512},
		{1024, []string{"192.0.2.1", "192.0.2.2"}, 1024},
		{1024, []string{"::ffff:192.0.2.1", "192.0.2.1"}, 512},
		{1024, []string{"2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"}, 512},
		{1024, []string{"2001:db8::1", "2001:db8:0:1::1"}, 1024},
		{1024, []string{"127.0.0.1"}, 896},
		{1024, []string{"::1"}, 896},
		{7, []string{"127.0.0.1"}, 7},
	} {
		listener := newFairListener(nil, sample.most)
		held := 0
		for range 2000 {
			for _, from := range sample.from {
				address := &net.TCPAddr{IP: net.IP(netip.MustParseAddr(from).AsSlice()), Port: 1}
				place := &Place{Conn: &net.TCPConn{}, listener: listener, from: Neighbourhood(address)}
				place.Enter() // who is in use keeps its place
				if len(listener.open) < sample.most && listener.take(place) {
					held++
				}
			}
		}
		if held != sample.held {
			t.Errorf("%+v: %d are held", sample, held)
		}
		for place := range listener.open {
			listener.give(place)
		}
		if len(listener.held) != 0 {
			t.Errorf("%+v: addresses are remembered that hold nothing", sample)
		}
	}
}

// Accepted connections ask silent peers whether they are still there.
func TestKeepAlive(t *testing.T) {
	listener, port := listening(t, "127.0.0.1", 1)
	connect(t, "127.0.0.1", port)
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.(*Place).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		on, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		idle, _ := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		if on != 1 || idle != 30 {
			t.Errorf("keepalive is %d after %d s", on, idle)
		}
	})
}

// Serving ends with the listener also while connections wait for a place.
func TestCloseWhileFull(t *testing.T) {
	listener, port := listening(t, "127.0.0.1", 1)
	connect(t, "127.0.0.1", port)
	held, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	held.(*Place).Enter()
	connect(t, "127.0.0.1", port)
	ended := make(chan error, 1)
	go func() {
		_, err := listener.Accept()
		ended <- err
	}()
	listener.Close()
	context, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v", err)
		}
	case <-context.Done():
		t.Fatal("Accept does not end")
	}
}

// A connection on which a call was welcome outlasts those of its own address that only stand there.
func TestStrangersGoFirst(t *testing.T) {
	listener := newFairListener(nil, 8)
	address := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	stand := func() *Place {
		place := &Place{Conn: &net.TCPConn{}, listener: listener, from: Neighbourhood(address)}
		place.Touch()
		if !listener.take(place) {
			t.Fatal("there is no place although others are idle")
		}
		return place
	}
	known := stand()
	known.Enter()
	known.Leave()
	for range 1000 {
		stand()
	}
	if _, open := listener.open[known]; !open {
		t.Error("a flood of connections took the place of one that is used")
	}
	if len(listener.open) != 4 || listener.held[known.from].strangers.Len() != 3 {
		t.Errorf("%d are open, %d of them strangers", len(listener.open), listener.held[known.from].strangers.Len())
	}
}
