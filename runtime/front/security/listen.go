package security

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// keepAlive finds peers that are gone without a word after about a minute, whatever protocol they spoke.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}

// Listen binds an IPv4 or IPv6 address; port 0 takes a free one. At most maxConnections are open at once; fairListener
// says what becomes of one more. An error is Unusable.
func Listen(address string, port int, maxConnections int) (net.Listener, error) {
	literal, err := netip.ParseAddr(address)
	if err != nil {
		return nil, unusable(KindAddress, err, "cannot listen on %q: it is no IPv4 or IPv6 address; configure one", address)
	}
	network := "tcp"
	if literal.Is4() {
		network = "tcp4" // 0.0.0.0 would otherwise take IPv6 along
	}
	place := net.JoinHostPort(address, strconv.Itoa(port))
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	bound, err := config.Listen(context.Background(), network, place)
	if err != nil {
		cause, remedy := bindProblem(err)
		return nil, unusable(KindAddress, err, "cannot listen on %s: %s; %s", place, cause, remedy)
	}
	return newFairListener(bound, maxConnections), nil
}

func bindProblem(err error) (cause, remedy string) {
	var number syscall.Errno
	if !errors.As(err, &number) {
		return err.Error(), "configure another address"
	}
	switch number {
	case syscall.EADDRINUSE:
		remedy = "stop what listens there or configure another port"
	case syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT:
		remedy = "configure an address of this machine"
	case syscall.EACCES, syscall.EPERM:
		remedy = "configure a port from 1024 on"
	default:
		remedy = "check the machine's limits and its network"
	}
	return number.Error(), remedy
}
