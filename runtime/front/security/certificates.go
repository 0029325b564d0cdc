package security

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"sync"
	"time"

	"accelform/front/settings"
	"accelform/front/telemetry"
)

const (
	// lookEvery is the shortest time between two looks at the files.
	lookEvery = time.Second
	// writing is how long after its last change a file is left to whoever may still be writing it.
	writing = 500 * time.Millisecond
	// warnBefore is how long before a certificate's end its operator is told, and warnEvery how often.
	warnBefore = 14 * 24 * time.Hour
	warnEvery  = 24 * time.Hour
)

// suites are those of TLS 1.2 with forward secrecy and authenticated encryption; TLS 1.3 has no others.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// Certificates keeps a certificate, its key and the client authorities. It looks for new files when connections or
// metrics ask, at most once a second, and keeps the last good set while the files are not.
type Certificates struct {
	files certificateFiles
	log   *telemetry.Log
	now   func() time.Time

	mutex   sync.Mutex
	set     *certificateSet
	seen    [3]stamp
	problem string
	looked  time.Time
	warned  time.Time
}

// NewCertificates reads the files that the settings name; nil, nil when they name none. An error is Unusable.
func NewCertificates(s *settings.Settings, log *telemetry.Log) (*Certificates, error) {
	if s.SSLCertPEMFile == "" {
		return nil, nil
	}
	return openCertificates(certificateFiles{
		certificate: s.SSLCertPEMFile,
		key:         s.SSLKeyPEMFile,
		authorities: s.SSLClientCAPEMFile,
	}, log, time.Now)
}

func openCertificates(files certificateFiles, log *telemetry.Log, now func() time.Time) (*Certificates, error) {
	c := &Certificates{files: files, log: log, now: now, seen: files.stamps(), looked: now()}
	set, err := files.load(c.looked)
	if err != nil {
		return nil, err
	}
	c.set = set
	c.report("loaded")
	c.warn(c.looked)
	return c, nil
}

// Config is for a listener whose clients speak `protocols` (ALPN). Each new connection gets the newest good set.
func (c *Certificates) Config(protocols ...string) *tls.Config {
	config := c.current().config(protocols)
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return c.current().config(protocols), nil
	}
	return config
}

// NotAfter is when the certificate in force ends.
func (c *Certificates) NotAfter() time.Time { return c.current().leaf.NotAfter }

// Problem is why the newest files are not in force, or empty.
func (c *Certificates) Problem() string {
	c.current()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.problem
}

func (s *certificateSet) config(protocols []string) *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: suites,
		NextProtos:   protocols,
		Certificates: []tls.Certificate{s.chain},
	}
	if s.authorities != nil {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs = s.authorities
		// A session that is taken up again would bring in a client whose authority was withdrawn since.
		config.SessionTicketsDisabled = true
	}
	return config
}

// current is the newest good set.
func (c *Certificates) current() *certificateSet {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	now := c.now()
	if passed := now.Sub(c.looked); passed >= 0 && passed < lookEvery {
		return c.set
	}
	c.looked = now
	c.look(now)
	c.warn(now)
	return c.set
}

// look takes the files over when they changed and are good. A bad state is looked at again, also without a change:
// a certificate may only have to wait for its first day.
func (c *Certificates) look(now time.Time) {
	found := c.files.stamps()
	if found == c.seen && c.problem == "" {
		return
	}
	if found != c.seen {
		for _, file := range found {
			if !file.settled(now, writing) {
				return
			}
		}
	}
	set, err := c.files.load(now)
	if err == nil && c.files.stamps() != found {
		return // it changed meanwhile, so that the parts may be of different states
	}
	changed := found != c.seen
	c.seen = found
	if err != nil {
		if problem := err.Error(); changed || problem != c.problem {
			c.problem = problem
			c.report("kept")
		}
		return
	}
	c.set, c.problem, c.warned = set, "", time.Time{}
	c.report("reloaded")
}

// warn tells once a day that the certificate in force ends soon, or that it has ended: clients then refuse it, and
// nobody else can tell them why.
func (c *Certificates) warn(now time.Time) {
	left := c.set.leaf.NotAfter.Sub(now)
	if left > warnBefore || now.Sub(c.warned) < warnEvery {
		return
	}
	c.warned = now
	state := "expiring"
	if left < 0 {
		state = "expired"
	}
	c.report(state)
}

func (c *Certificates) report(state string) {
	c.log.Write("certificate", "state", state, "problem", c.problem, "read_again", c.problem != "", "not_after", c.set.leaf.NotAfter.UTC().Format(time.RFC3339),
		"subject", subjectOf(c.set))
}

// subjectOf is the certificate's subject, or its first name where the subject is empty, as with most authorities now.
func subjectOf(set *certificateSet) string {
	if set.leaf.Subject.String() != (pkix.Name{}).String() {
		return set.leaf.Subject.String()
	}
	if len(set.leaf.DNSNames) > 0 {
		return set.leaf.DNSNames[0]
	}
	if len(set.leaf.IPAddresses) > 0 {
		return set.leaf.IPAddresses[0].String()
	}
	return ""
}
