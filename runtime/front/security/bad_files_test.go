package security

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func ended(template *x509.Certificate)  { template.NotAfter = time.Now().Add(-time.Minute) }
func coming(template *x509.Certificate) { template.NotBefore = time.Now().Add(time.Hour) }
func forServers(template *x509.Certificate) {
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
}
func forClients(template *x509.Certificate) {
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
}

// bad are states of the files that no service may use: what is done to a good set, and what the problem says.
var bad = map[string]struct {
	words string
	spoil func(t *testing.T, ca *authority, files certificateFiles)
}{
	"mismatch": {"do not belong together", func(t *testing.T, ca *authority, files certificateFiles) {
		put(t, files.certificate, ca.issue(t, "other", nil, nil).certificate)
	}},
	"expired":  {"expired on 2", spoilWith(ended)},
	"not yet":  {"valid only from 2", spoilWith(coming)},
	"client's": {"not made for servers", spoilWith(forClients)},
	"short key": {"less than 2048 bits", func(t *testing.T, ca *authority, files certificateFiles) {
		made := ca.issue(t, "spoiled", rsaKey(t, 1024), nil)
		put(t, files.certificate, made.certificate)
		put(t, files.key, made.key)
	}},
	"no certificate": {"holds no certificate", func(t *testing.T, ca *authority, files certificateFiles) {
		put(t, files.certificate, []byte("nothing\n"))
	}},
	"garbage": {"is damaged", func(t *testing.T, ca *authority, files certificateFiles) {
		put(t, files.certificate, certificatePEM([]byte("garbage")))
	}},
	"missing key": {"no such file", func(t *testing.T, _ *authority, files certificateFiles) { remove(t, files.key) }},
	"missing certificate": {"no such file", func(t *testing.T, _ *authority, files certificateFiles) {
		remove(t, files.certificate)
	}},
	"key for all": {"run `chmod 600 ", func(t *testing.T, _ *authority, files certificateFiles) { mode(t, files.key, 0o644) }},
	"key for the group": {"mode 0640", func(t *testing.T, _ *authority, files certificateFiles) {
		mode(t, files.key, 0o640)
	}},
	"no key": {"holds no private key", func(t *testing.T, ca *authority, files certificateFiles) { put(t, files.key, ca.pem) }},
	"passphrase": {"needs a passphrase", func(t *testing.T, ca *authority, files certificateFiles) {
		content, _ := os.ReadFile(files.key)
		put(t, files.key, []byte(strings.ReplaceAll(string(content), "PRIVATE", "ENCRYPTED PRIVATE")))
	}},
	"folder": {"not a regular file", func(t *testing.T, ca *authority, files certificateFiles) {
		remove(t, files.key)
		if err := os.Mkdir(files.key, 0o700); err != nil {
			t.Fatal(err)
		}
	}},
	"no authorities": {"client authorities file", func(t *testing.T, ca *authority, files certificateFiles) {
		put(t, files.authorities, []byte("nothing\n"))
	}},
	"half an authority": {"incomplete", func(t *testing.T, ca *authority, files certificateFiles) {
		put(t, files.authorities, ca.pem[:len(ca.pem)-10])
	}},
}

func spoilWith(change func(*x509.Certificate)) func(*testing.T, *authority, certificateFiles) {
	return func(t *testing.T, ca *authority, files certificateFiles) {
		made := ca.issue(t, "spoiled", nil, change)
		put(t, files.certificate, made.certificate)
		put(t, files.key, made.key)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, path string, to os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, to); err != nil {
		t.Fatal(err)
	}
}

// A service does not start on bad files; one that runs keeps the last good set, says so once, and takes the next good
// one.
func TestBadFiles(t *testing.T) {
	for name, sample := range bad {
		t.Run(name, func(t *testing.T) {
			ca := newAuthority(t, "authority")
			good := ca.issue(t, "good", nil, nil)
			files := filesIn(t, good, ca.pem)
			certificates, _, log := opened(t, files)
			sample.spoil(t, ca, files)

			_, writer := newRecorder()
			_, err := openCertificates(files, writer, time.Now)
			var found *Unusable
			if !errors.As(err, &found) || found.Kind != KindCertificate || !strings.Contains(err.Error(), sample.words) ||
				!strings.Contains(err.Error(), filepath.Dir(files.key)) {
				t.Errorf("a new service says %v", err)
			}
			for range 3 {
				if found := certificates.current().leaf.Subject.CommonName; found != "good" {
					t.Errorf("%s is in force", found)
				}
			}
			if !strings.Contains(certificates.Problem(), sample.words) {
				t.Errorf("the problem is %q", certificates.Problem())
			}

			next := ca.issue(t, "next", nil, nil)
			_ = os.RemoveAll(files.key)
			put(t, files.certificate, next.certificate)
			put(t, files.key, next.key)
			put(t, files.authorities, ca.pem)
			if found := certificates.current().leaf.Subject.CommonName; found != "next" || certificates.Problem() != "" {
				t.Errorf("%s is in force, %q", found, certificates.Problem())
			}
			if states := log.states(t); !slices.Equal(states, []string{"loaded", "kept", "reloaded"}) {
				t.Errorf("the log says %s", log)
			}
			if strings.Contains(log.String()+err.Error(), strings.Split(string(good.key), "\n")[1]) {
				t.Error("the private key is told")
			}
		})
	}
}
