package rest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"accelform/front/security"
)

// leastDropped is how much of a body that nobody wants is read all the same.
const leastDropped = 32 << 20

// drop reads the rest of a body whose request was refused. Many clients, Python's among them, send all of it before they
// read, and would see a reset connection instead of the answer; what is beyond the bound, or takes longer than a request
// may, is cut off.
func (e *exchange) drop() {
	if !e.writer.begun || e.refused == nil || e.request.Body == http.NoBody {
		return
	}
	if strings.EqualFold(e.request.Header.Get("Expect"), "100-continue") {
		return // who waits for a word before sending has got another one
	}
	_ = http.NewResponseController(e.writer).Flush()
	_, _ = io.CopyN(io.Discard, e.request.Body, max(leastDropped, 2*int64(e.deps.Settings.MaxRequestBytes)))
}

// remote is a request's peer.
func remote(request *http.Request) net.Addr {
	from, err := netip.ParseAddrPort(request.RemoteAddr)
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(from)
}

// enter keeps the connection's place in the table of connections while it is used by somebody who may.
func (e *exchange) enter() {
	e.place, _ = e.request.Context().Value(placeKey{}).(*security.Place)
	e.place.Enter()
}

func (e *exchange) leave() {
	if e.place != nil {
		e.place.Leave()
	}
}

type placeKey struct{}

// withPlace lets a connection's requests find its place in the table of connections.
func withPlace(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, placeKey{}, security.PlaceOf(conn))
}
