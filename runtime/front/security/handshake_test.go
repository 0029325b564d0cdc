package security

import (
	"crypto/tls"
	"slices"
	"testing"
)

// Old protocols and suites without forward secrecy or authenticated encryption are refused in the handshake, for
// each kind of key; TLS 1.2 and 1.3 are taken.
func TestProtocolsAndSuites(t *testing.T) {
	ca := newAuthority(t, "authority")
	const old, newest = tls.VersionTLS10, tls.VersionTLS13
	samples := []struct {
		name        string
		least, most uint16
		suites      []uint16
		taken       bool
	}{
		{"TLS 1.0", old, tls.VersionTLS10, nil, false},
		{"TLS 1.1", old, tls.VersionTLS11, nil, false},
		{"TLS 1.2", old, tls.VersionTLS12, nil, true},
		{"TLS 1.3", newest, newest, nil, true},
		{"3DES", old, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA}, false},
		{"RC4", old, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}, false},
		{"RSA key exchange", old, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_CBC_SHA}, false},
		{"CBC", old, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}, false},
		{"ChaCha20", tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, true},
	}
	for kind, server := range map[string]pair{
		"ECDSA": ca.issue(t, "ec", nil, nil), "RSA": ca.issue(t, "rsa", rsaKey(t, 2048), nil),
	} {
		certificates, _, _ := opened(t, filesIn(t, server, nil))
		address := served(t, certificates.Config("h2"))
		for _, sample := range samples {
			state, err := greet(address, &tls.Config{
				RootCAs: ca.pool, NextProtos: []string{"h2"},
				MinVersion: sample.least, MaxVersion: sample.most, CipherSuites: sample.suites,
			})
			if (err == nil) != sample.taken {
				t.Errorf("%s with %s: version %x suite %x, %v", sample.name, kind, state.Version, state.CipherSuite, err)
			}
		}
	}
}

// A client gets the listener's protocol, and none at all when it speaks only others.
func TestProtocolIsAgreed(t *testing.T) {
	ca := newAuthority(t, "authority")
	certificates, _, _ := opened(t, filesIn(t, ca.issue(t, "server", nil, nil), nil))
	address := served(t, certificates.Config("h2", "http/1.1"))
	for asked, agreed := range map[string]string{"h2": "h2", "http/1.1": "http/1.1", "spdy/3": "-", "": ""} {
		config := &tls.Config{RootCAs: ca.pool}
		if asked != "" {
			config.NextProtos = []string{asked}
		}
		state, err := greet(address, config)
		if err != nil {
			state.NegotiatedProtocol = "-"
		}
		if state.NegotiatedProtocol != agreed {
			t.Errorf("asking for %q gives %q, %v", asked, state.NegotiatedProtocol, err)
		}
	}
}

// With client authorities only certificates of theirs come in, in each version of TLS.
func TestClientCertificates(t *testing.T) {
	ca, clients, strangers := newAuthority(t, "authority"), newAuthority(t, "clients"), newAuthority(t, "clients")
	// A single client may be among the authorities, without one that signs.
	single := selfSigned(t, "single")
	certificates, _, _ := opened(t, filesIn(t, ca.issue(t, "server", nil, nil), slices.Concat(clients.pem, single.certificate)))
	address := served(t, certificates.Config("h2"))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, sample := range map[string]struct {
			shown []tls.Certificate
			taken bool
		}{
			"theirs":         {clients.issue(t, "client", nil, nil).client(t), true},
			"single":         {single.client(t), true},
			"another single": {selfSigned(t, "single").client(t), false},
			"none":           {nil, false},
			"another's":      {strangers.issue(t, "client", nil, nil).client(t), false},
			"the server's":   {ca.issue(t, "server", nil, nil).client(t), false},
			"theirs, ended":  {clients.issue(t, "client", nil, ended).client(t), false},
			"theirs, server": {clients.issue(t, "client", nil, forServers).client(t), false},
		} {
			config := &tls.Config{RootCAs: ca.pool, MinVersion: version, MaxVersion: version, NextProtos: []string{"h2"}}
			// Whatever the server says it wants to see.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(sample.shown) == 0 {
					return &tls.Certificate{}, nil
				}
				return &sample.shown[0], nil
			}
			if _, err := greet(address, config); (err == nil) != sample.taken {
				t.Errorf("%s with %x: %v", name, version, err)
			}
		}
	}
}

// A client whose authority is withdrawn does not come back with the session it had.
func TestWithdrawnAuthority(t *testing.T) {
	ca, clients, next := newAuthority(t, "authority"), newAuthority(t, "clients"), newAuthority(t, "next")
	files := filesIn(t, ca.issue(t, "server", nil, nil), clients.pem)
	certificates, _, _ := opened(t, files)
	address := served(t, certificates.Config("h2"))
	config := &tls.Config{
		RootCAs: ca.pool, NextProtos: []string{"h2"}, ClientSessionCache: tls.NewLRUClientSessionCache(8),
		Certificates: clients.issue(t, "client", nil, nil).client(t),
	}
	for range 2 {
		if state, err := greet(address, config); err != nil || state.DidResume {
			t.Fatalf("before: resumed %t, %v", state.DidResume, err)
		}
	}
	put(t, files.authorities, next.pem)
	if state, err := greet(address, config); err == nil {
		t.Errorf("a withdrawn authority's client comes in, resumed: %t", state.DidResume)
	}
}
