package security

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"accelform/front/settings"
)

// subject is the name in the certificate that a new connection gets, or why there is none.
func subject(address string, ca *authority) string {
	state, err := greet(address, &tls.Config{RootCAs: ca.pool, NextProtos: []string{"h2"}})
	if err != nil {
		return err.Error()
	}
	return state.PeerCertificates[0].Subject.CommonName
}

// No beginning of a new certificate file, and no new certificate without its key, is ever used.
func TestHalfWrittenPair(t *testing.T) {
	ca := newAuthority(t, "authority")
	files := filesIn(t, ca.issue(t, "old", nil, nil), nil)
	certificates, _, _ := opened(t, files)
	address := served(t, certificates.Config("h2"))
	next := ca.issue(t, "next", nil, nil)
	for length := 0; length <= len(next.certificate); length += 29 {
		overwrite(t, files.certificate, next.certificate[:length])
		if found := certificates.current().leaf.Subject.CommonName; found != "old" {
			t.Fatalf("after %d bytes %q is in force", length, found)
		}
	}
	overwrite(t, files.certificate, next.certificate)
	if found := subject(address, ca); found != "old" {
		t.Errorf("without its key %q is in force", found)
	}
	overwrite(t, files.key, next.key[:len(next.key)/2])
	if found := subject(address, ca); found != "old" {
		t.Errorf("with half of its key %q is in force", found)
	}
	overwrite(t, files.key, next.key)
	if found := subject(address, ca); found != "next" || certificates.Problem() != "" {
		t.Errorf("the whole pair is not in force: %q, %s", found, certificates.Problem())
	}
}

// Certificate and key may be in one file, so that both change in one step; no beginning of it is ever used.
func TestPairInOneFile(t *testing.T) {
	ca := newAuthority(t, "authority")
	old, next := ca.issue(t, "old", nil, nil), ca.issue(t, "next", nil, nil)
	files := filesIn(t, old, nil)
	files.certificate = files.key
	overwrite(t, files.key, slices.Concat(old.key, old.certificate))
	certificates, _, _ := opened(t, files)
	address := served(t, certificates.Config("h2"))
	whole := slices.Concat(next.key, next.certificate)
	for length := 0; length < len(whole)-len(ca.pem); length += 31 {
		overwrite(t, files.key, whole[:length])
		if found := certificates.current().leaf.Subject.CommonName; found != "old" {
			t.Fatalf("after %d bytes %q is in force", length, found)
		}
	}
	put(t, files.key, slices.Concat(next.certificate, next.key))
	if found := subject(address, ca); found != "next" {
		t.Errorf("the new pair is not in force: %q", found)
	}
}

// Files that were changed a moment ago are left alone, since a chain that is still written can look complete.
func TestFilesAreLeftToTheirWriter(t *testing.T) {
	ca := newAuthority(t, "authority")
	files := filesIn(t, ca.issue(t, "old", nil, nil), nil)
	_, writer := newRecorder()
	frozen := time.Now().Add(-time.Hour)
	certificates, err := openCertificates(files, writer, func() time.Time { return frozen })
	if err != nil {
		t.Fatal(err)
	}
	next := ca.issue(t, "next", nil, nil)
	put(t, files.key, next.key)
	put(t, files.certificate, next.certificate)
	changed := time.Unix(0, stampOf(files.certificate).owned)
	for _, step := range []struct {
		passed time.Duration
		name   string
	}{{writing / 5, "old"}, {writing/5 + lookEvery/2, "old"}, {writing/5 + lookEvery, "next"}} {
		frozen = changed.Add(step.passed)
		if found := certificates.current().leaf.Subject.CommonName; found != step.name {
			t.Errorf("%s after the change %q is in force", step.passed, found)
		}
	}
}

// While the pair is replaced again and again under many connections, every handshake succeeds, and the connection
// after a change gets the new certificate.
func TestRotationUnderLoad(t *testing.T) {
	ca := newAuthority(t, "authority")
	pairs := []pair{ca.issue(t, "even", nil, nil), ca.issue(t, "odd", nil, nil)}
	files := filesIn(t, pairs[0], nil)
	certificates, _, _ := opened(t, files)
	address := served(t, certificates.Config("h2"))
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 3 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if found := subject(address, ca); found != "even" && found != "odd" {
					t.Errorf("a connection failed during a rotation: %s", found)
					return
				}
			}
		})
	}
	for round := 1; round <= 20; round++ {
		next := pairs[round%2]
		put(t, files.certificate, next.certificate)
		put(t, files.key, next.key)
		if found := subject(address, ca); found != next.name {
			t.Errorf("round %d: %s instead of %s is in force", round, found, next.name)
		}
		certificates.Config("http/1.1")
	}
	close(stop)
	clients.Wait()
}

// A certificate that ends soon is told once a day, and goes on being served after its end; an authority's certificate
// that only has to wait for its first day is taken then, without another change.
func TestEndOfACertificate(t *testing.T) {
	ca := newAuthority(t, "authority")
	files := filesIn(t, ca.issue(t, "server", nil, nil), nil) // for 30 days
	certificates, passing, log := opened(t, files)
	passing.step.Store(0)
	for day := 1; day <= 33; day++ {
		passing.move(12 * time.Hour)
		certificates.NotAfter()
		passing.move(12 * time.Hour)
		if certificates.current() == nil {
			t.Fatal("nothing is served")
		}
	}
	states := log.states(t)
	counts := map[string]int{}
	for _, state := range states {
		counts[state]++
	}
	if counts["loaded"] != 1 || counts["expiring"] < 13 || counts["expiring"] > 15 || counts["expired"] < 3 || counts["expired"] > 4 {
		t.Errorf("in 33 days the log says %v", counts)
	}

	coming := ca.issue(t, "coming", nil, func(template *x509.Certificate) {
		template.NotBefore = passing.now().Add(time.Hour)
		template.NotAfter = passing.now().Add(1000 * time.Hour)
	})
	put(t, files.certificate, coming.certificate)
	put(t, files.key, coming.key)
	passing.move(time.Minute)
	if problem := certificates.Problem(); !strings.Contains(problem, "valid only from") {
		t.Errorf("the problem is %q", problem)
	}
	passing.move(2 * time.Hour)
	if certificates.Problem() != "" || certificates.current().leaf.Subject.CommonName != "coming" {
		t.Error("a certificate whose first day has come is not in force")
	}
}

// A key that Kubernetes mounts for the server's group is taken; other open keys are not.
func TestKeyModes(t *testing.T) {
	for _, sample := range []struct {
		owner  uint32
		server int
		mode   os.FileMode
		taken  bool
	}{
		{0, 0, 0o600, true}, {0, 0, 0o640, false}, {0, 5000, 0o440, true}, {0, 5000, 0o640, true}, {0, 5000, 0o644, false},
		{0, 5000, 0o660, false}, {5000, 5000, 0o400, true}, {5000, 5000, 0o440, false}, {5000, 5000, 0o604, false},
	} {
		if taken := sample.mode&keyModes(sample.owner, sample.server) == 0; taken != sample.taken {
			t.Errorf("%+v", sample)
		}
	}
}

// Without a certificate there is no TLS.
func TestNoTLS(t *testing.T) {
	_, log := newRecorder()
	if found, err := NewCertificates(&settings.Settings{}, log); found != nil || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	_, err := NewCertificates(&settings.Settings{Service: settings.Service{SSLCertPEMFile: "/nowhere/a", SSLKeyPEMFile: "/nowhere/b"}}, log)
	if err == nil || !strings.Contains(err.Error(), "/nowhere/a") {
		t.Errorf("%v", err)
	}
}
