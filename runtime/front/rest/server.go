package rest

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"time"

	"accelform/front/settings"
)

const (
	maxHeaderBytes = 16 * 1024
	// idleTimeout is longer than proxies and clients usually keep a connection that they do not use.
	idleTimeout = 5 * time.Minute
	writeSlack  = 5 * time.Second
)

// NewServer bounds what a client may cost before and after its call; config nil means no TLS. Only HTTP/1.1 is spoken:
// the side door has few callers, and HTTP/2's multiplexing would escape the limits on connections.
func NewServer(handler http.Handler, config *tls.Config, s *settings.Settings) *http.Server {
	headers := settings.Seconds(s.HandshakeTimeoutSeconds)
	receive := settings.Seconds(s.ReceiveTimeoutSeconds)
	scoring := settings.Milliseconds(s.ScoringTimeoutMs)
	var speak http.Protocols
	speak.SetHTTP1(true)
	return &http.Server{
		Handler:           handler,
		TLSConfig:         onlyHTTP1(config),
		Protocols:         &speak,
		ReadHeaderTimeout: headers,
		ReadTimeout:       headers + receive,
		// A stop for all that the handler does not bound itself; its own limits come sooner.
		WriteTimeout:   receive + scoring + receive + writeSlack,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ConnContext:    withPlace,
		// What net/http would write is one line per unfinished handshake or request, in another form than the log's.
		ErrorLog: log.New(io.Discard, "", 0),
	}
}

// onlyHTTP1 copies a configuration that may also be gRPC's, which offers HTTP/2 alone.
func onlyHTTP1(config *tls.Config) *tls.Config {
	if config == nil {
		return nil
	}
	copied := config.Clone()
	copied.NextProtos = []string{"http/1.1"}
	if choose := config.GetConfigForClient; choose != nil {
		copied.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			return onlyHTTP1(chosen), err
		}
	}
	return copied
}
