package security

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	pem         []byte
	pool        *x509.CertPool
}

// pair is a certificate chain and its private key as PEM.
type pair struct {
	name             string
	certificate, key []byte
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key := ecKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	found := &authority{certificate: certificate, key: key, pem: certificatePEM(der), pool: x509.NewCertPool()}
	found.pool.AddCert(certificate)
	return found
}

// issue makes a pair named `name` whose chain holds the authority too; `change` may alter the template, nil key makes
// one.
func (a *authority) issue(t testing.TB, name string, key crypto.Signer, change func(*x509.Certificate)) pair {
	t.Helper()
	if key == nil {
		key = ecKey(t)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(720 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		name:        name,
		certificate: slices.Concat(certificatePEM(der), a.pem),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}
}

// selfSigned is a pair whose certificate nobody but itself signed, and which signs no others.
func selfSigned(t testing.TB, name string) pair {
	t.Helper()
	own := &authority{key: ecKey(t)}
	own.certificate = &x509.Certificate{Subject: pkix.Name{CommonName: name}}
	return own.issue(t, name, own.key, nil)
}

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// client is the pair as a client shows it.
func (p pair) client(t testing.TB) []tls.Certificate {
	t.Helper()
	found, err := tls.X509KeyPair(p.certificate, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{found}
}

// filesIn puts a pair, and the authorities that clients need if any, into a folder of their own.
func filesIn(t testing.TB, p pair, authorities []byte) certificateFiles {
	t.Helper()
	folder := t.TempDir()
	files := certificateFiles{certificate: filepath.Join(folder, "tls.crt"), key: filepath.Join(folder, "tls.key")}
	put(t, files.certificate, p.certificate)
	put(t, files.key, p.key)
	if authorities != nil {
		files.authorities = filepath.Join(folder, "ca.crt")
		put(t, files.authorities, authorities)
	}
	return files
}

// opened are certificates whose clock moves two seconds at each look, so that each connection looks at the files.
func opened(t testing.TB, files certificateFiles) (*Certificates, *clock, *recorder) {
	t.Helper()
	moving := &clock{}
	moving.step.Store(int64(2 * time.Second))
	log, writer := newRecorder()
	found, err := openCertificates(files, writer, moving.now)
	if err != nil {
		t.Fatal(err)
	}
	return found, moving, log
}

// served is a server that greets with one byte over TLS, and its address.
func served(t testing.TB, config *tls.Config) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := conn.Write([]byte("!")); err == nil {
					_, _ = conn.Read(make([]byte, 1))
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// greet connects, waits for the greeting and gives the state of the connection. With TLS 1.3 only the greeting shows
// that the server took the client's certificate.
func greet(address string, config *tls.Config) (tls.ConnectionState, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", address, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = conn.Read(make([]byte, 1))
	return conn.ConnectionState(), err
}
