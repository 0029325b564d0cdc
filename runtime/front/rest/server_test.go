package rest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"accelform/front/refusal"
	"accelform/front/settings"
)

// open serves a door on a free port and returns its address.
func (d *door) open(t *testing.T, config *tls.Config) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(d, config, d.deps.Settings)
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		if config == nil {
			_ = server.Serve(listener)
		} else {
			_ = server.ServeTLS(listener, "", "")
		}
	}()
	return listener.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	_ = connection.SetDeadline(time.Now().Add(20 * time.Second))
	return connection
}

// post asks the model; what is sent ends with one more header and the body.
func post(to io.Writer, rest string) {
	fmt.Fprintf(to, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%s", predict, key, rest)
}

func impatient(s *settings.Settings) {
	s.HandshakeTimeoutSeconds, s.ReceiveTimeoutSeconds = 0.1, 0.2
}

func TestACallerThatLeavesEndsItsCall(t *testing.T) {
	inside, ended := make(chan struct{}), make(chan error, 1)
	d := newDoor(t, func(deps *Deps) {
		deps.Score = func(ctx context.Context, _ RestCall) ([]byte, [][2]string, *refusal.Refusal) {
			close(inside)
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, nil, refusal.New(1, "the caller has gone")
		}
	})
	connection := dial(t, d.open(t, nil))
	post(connection, "Content-Length: 2\r\n\r\n{}")
	<-inside
	_ = connection.Close()
	select {
	case err := <-ended:
		if err != context.Canceled {
			t.Errorf("the call ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the call of a caller that left goes on")
	}
	eventually(t, "the log's line", func() bool { return len(d.log.requests(t)) == 1 })
	if line := d.last(t); line["code"] != "CANCELLED" {
		t.Errorf("the log says %v", line)
	}
}

func TestHeadersThatNeverEndAreCutOff(t *testing.T) {
	d := newDoor(t, func(deps *Deps) { impatient(deps.Settings) })
	connection := dial(t, d.open(t, nil))
	fmt.Fprint(connection, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	begun := time.Now()
	_, _ = io.ReadAll(connection)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("a caller without the end of its headers was kept for %s", took)
	}
}

func TestABodyThatNeverEndsIsToldSo(t *testing.T) {
	d := newDoor(t, func(deps *Deps) { impatient(deps.Settings) })
	connection := dial(t, d.open(t, nil))
	post(connection, "Content-Length: 100\r\n\r\n{")
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil || answer.StatusCode != http.StatusRequestTimeout {
		t.Fatalf("the caller got %v %v", answer, err)
	}
	if line := d.last(t); line["code"] != "DEADLINE_EXCEEDED" || len(d.calls) != 0 {
		t.Errorf("the log says %v", line)
	}
}

func TestABodyThatIsCutOffNeverReachesTheModel(t *testing.T) {
	d := newDoor(t, nil)
	address := d.open(t, nil)
	for _, body := range []string{
		"Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\nff\r\n{",
		"Transfer-Encoding: chunked\r\n\r\nno\r\n",
	} {
		connection := dial(t, address)
		post(connection, body)
		_ = connection.(*net.TCPConn).CloseWrite()
		_, _ = io.ReadAll(connection)
	}
	eventually(t, "the log's lines", func() bool { return len(d.log.requests(t)) == 3 })
	if len(d.calls) != 0 {
		t.Errorf("the model was asked %v", d.calls)
	}
}

func TestACallerThatDoesNotReadItsAnswerIsCutOff(t *testing.T) {
	d := newDoor(t, func(deps *Deps) {
		impatient(deps.Settings)
		deps.Score = func(context.Context, RestCall) ([]byte, [][2]string, *refusal.Refusal) {
			return bytes.Repeat([]byte("x"), 64<<20), nil, nil // more than the system's buffers take
		}
	})
	connection := dial(t, d.open(t, nil))
	post(connection, "Content-Length: 2\r\n\r\n{}")
	eventually(t, "the end of the call", func() bool { return len(d.log.requests(t)) == 1 })
}

func TestHeadersAreBounded(t *testing.T) {
	d := newDoor(t, nil)
	answer, err := sendHeader(t, d.open(t, nil), strings.Repeat("x", 64*1024))
	if err != nil || answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("the caller got %v %v", answer, err)
	}
}

func sendHeader(t *testing.T, address, value string) (*http.Response, error) {
	connection := dial(t, address)
	go fmt.Fprintf(connection, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", value)
	return http.ReadResponse(bufio.NewReader(connection), nil)
}

func TestTheConnectionServesOnAfterARefusal(t *testing.T) {
	d := newDoor(t, nil)
	connection := dial(t, d.open(t, nil))
	reader := bufio.NewReader(connection)
	for _, want := range []int{401, 404, 200} {
		path, shown := "/v1/models/digits", key
		switch want {
		case 401:
			shown = "Bearer wrong"
		case 404:
			path = "/no"
		}
		fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", path, shown)
		answer, err := http.ReadResponse(reader, nil)
		if err != nil || answer.StatusCode != want {
			t.Fatalf("instead of %d came %v %v", want, answer, err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
	}
}

func TestHalfAnAnswerIsNotTakenForAWholeOne(t *testing.T) {
	d := newDoor(t, nil)
	d.Handler.(*handler).page = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 8192))
		panic("broken")
	})
	connection := dial(t, d.open(t, nil))
	fmt.Fprintf(connection, "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", key)
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err == nil {
		_, err = io.ReadAll(answer.Body)
	}
	if err == nil {
		t.Error("the caller takes half an answer for a whole one")
	}
	eventually(t, "the log's line", func() bool { return len(d.log.requests(t)) == 1 })
}

func TestOnlyHTTP1IsSpokenEvenWithGRPCsTLS(t *testing.T) {
	issuer := httptest.NewTLSServer(http.NotFoundHandler())
	defer issuer.Close()
	certificate := issuer.TLS.Certificates[0]
	roots := x509.NewCertPool()
	roots.AddCert(issuer.Certificate())
	forGRPC := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}
	reloading := forGRPC.Clone()
	reloading.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return forGRPC, nil }
	for _, config := range []*tls.Config{forGRPC, reloading} {
		address := newDoor(t, nil).open(t, config)
		for _, offered := range [][]string{nil, {"h2", "http/1.1"}, {"http/1.1"}} {
			connection, err := tls.Dial("tcp", address, &tls.Config{
				RootCAs: roots, ServerName: "example.com", NextProtos: offered,
			})
			if err != nil {
				t.Fatalf("a client that offers %v: %v", offered, err)
			}
			_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprint(connection, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
			answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
			if err != nil || answer.StatusCode != 200 || answer.ProtoMajor != 1 {
				t.Errorf("a client that offers %v got %v %v", offered, answer, err)
			}
			_ = connection.Close()
		}
	}
	if len(forGRPC.NextProtos) != 1 || forGRPC.NextProtos[0] != "h2" {
		t.Error("gRPC's own configuration was changed")
	}
}
