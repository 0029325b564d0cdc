package security

import (
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"time"
)

// smallestRSA is the shortest RSA key that clients still take.
const smallestRSA = 2048

// certificateFiles are the paths of a set; an empty authorities path asks clients for nothing.
type certificateFiles struct {
	certificate, key, authorities string
}

// certificateSet is what TLS needs at one moment: checked, complete and never changed.
type certificateSet struct {
	chain       tls.Certificate
	leaf        *x509.Certificate
	authorities *x509.CertPool // nil: clients need no certificate
}

// stamps tell two states of a set's files apart.
func (f certificateFiles) stamps() [3]stamp {
	found := [3]stamp{stampOf(f.certificate), stampOf(f.key)}
	if f.authorities != "" {
		found[2] = stampOf(f.authorities)
	}
	return found
}

// load reads and checks the files. Its error never holds anything of the private key.
func (f certificateFiles) load(now time.Time) (*certificateSet, error) {
	const what = "certificate file"
	content, _, err := readFile(f.certificate)
	if err != nil {
		return nil, cannotRead(what, f.certificate, err)
	}
	certificates, wrong := parseCertificates(content)
	if wrong != "" {
		return nil, unusable(KindCertificate, nil, "%s %s %s; give the certificate chain as PEM, the service's own first",
			what, f.certificate, wrong)
	}
	leaf := certificates[0]
	if wrong := unfit(leaf, now); wrong != "" {
		return nil, unusable(KindCertificate, nil, "%s %s %s; put a new certificate there", what, f.certificate, wrong)
	}
	key, err := f.loadKey()
	if err != nil {
		return nil, err
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return nil, unusable(KindCertificate, nil,
			"certificate %s and private key %s do not belong together; put both files of one pair there", f.certificate, f.key)
	}
	set := &certificateSet{leaf: leaf, chain: tls.Certificate{PrivateKey: key, Leaf: leaf}}
	for _, certificate := range certificates {
		set.chain.Certificate = append(set.chain.Certificate, certificate.Raw)
	}
	if f.authorities != "" {
		if set.authorities, err = f.loadAuthorities(now); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// loadKey reads the private key, which nobody but its owner may read.
func (f certificateFiles) loadKey() (crypto.Signer, error) {
	const what = "private key file"
	content, found, err := readFile(f.key)
	if err != nil {
		return nil, cannotRead(what, f.key, err)
	}
	server := os.Geteuid()
	if open := found.mode.Perm() & keyModes(found.owner, server); open != 0 {
		who, remedy := "others than its owner", "run `chmod 600 "+f.key+"`"
		if mounted(found.owner, server) {
			who, remedy = "others than root and a group that only reads", "give the secret volume defaultMode 0440 and the pod an fsGroup"
		}
		return nil, unusable(KindCertificate, nil, "%s %s can be read or changed by %s (mode %04o); %s",
			what, f.key, who, found.mode.Perm(), remedy)
	}
	key, wrong := parsePrivateKey(content)
	if wrong != "" {
		return nil, unusable(KindCertificate, nil, "%s %s %s; give the certificate's private key as PEM", what, f.key, wrong)
	}
	return key, nil
}

// mounted is whether a key's file is one that Kubernetes mounts: a file of root's that a server without root's rights
// reads cannot be the server's own; it reads it through its group.
func mounted(owner uint32, server int) bool { return owner == 0 && server != 0 }

// keyModes are the permissions that a private key's file must not have.
func keyModes(owner uint32, server int) os.FileMode {
	if mounted(owner, server) {
		return 0o037
	}
	return 0o077
}

func (f certificateFiles) loadAuthorities(now time.Time) (*x509.CertPool, error) {
	const what = "client authorities file"
	content, _, err := readFile(f.authorities)
	if err != nil {
		return nil, cannotRead(what, f.authorities, err)
	}
	certificates, wrong := parseCertificates(content)
	pool := x509.NewCertPool()
	usable := 0
	for _, certificate := range certificates {
		pool.AddCert(certificate)
		if now.Before(certificate.NotAfter) {
			usable++
		}
	}
	if wrong == "" && usable == 0 {
		wrong = "holds only expired certificates"
	}
	if wrong != "" {
		return nil, unusable(KindCertificate, nil,
			"%s %s %s; give the certificates of the authorities that sign clients' certificates as PEM", what, f.authorities, wrong)
	}
	return pool, nil
}

// unfit is why clients would refuse the certificate now, or empty.
func unfit(leaf *x509.Certificate, now time.Time) string {
	if now.After(leaf.NotAfter) {
		return "expired on " + utc(leaf.NotAfter)
	}
	if now.Before(leaf.NotBefore) {
		return "is valid only from " + utc(leaf.NotBefore) + " on"
	}
	if public, ok := leaf.PublicKey.(*rsa.PublicKey); ok && public.N.BitLen() < smallestRSA {
		return "has an RSA key of less than 2048 bits"
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 {
		return ""
	}
	for _, usage := range leaf.ExtKeyUsage {
		if usage == x509.ExtKeyUsageServerAuth || usage == x509.ExtKeyUsageAny {
			return ""
		}
	}
	return "is not made for servers (its extended key usage lacks serverAuth)"
}

// parseCertificates gives at least one certificate, or what is wrong.
func parseCertificates(content []byte) ([]*x509.Certificate, string) {
	blocks, whole := pemBlocks(content)
	if !whole {
		return nil, "is damaged or incomplete"
	}
	var found []*x509.Certificate
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, "is damaged"
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, "holds no certificate"
	}
	return found, ""
}

// parsePrivateKey gives the first private key, in each of the forms that tools write.
func parsePrivateKey(content []byte) (crypto.Signer, string) {
	blocks, whole := pemBlocks(content)
	if !whole {
		return nil, "is damaged or incomplete"
	}
	for _, block := range blocks {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if strings.HasPrefix(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "" {
			return nil, "needs a passphrase, which a server cannot ask for"
		}
		if key, err := decodePrivateKey(block.Type, block.Bytes); err == nil {
			return key, ""
		}
		return nil, "is damaged or of a kind that TLS does not take"
	}
	return nil, "holds no private key"
}

func decodePrivateKey(kind string, content []byte) (crypto.Signer, error) {
	var key any
	var err error
	switch kind {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(content)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(content)
	default:
		key, err = x509.ParsePKCS8PrivateKey(content)
	}
	if err != nil {
		return nil, err
	}
	if signer, ok := key.(crypto.Signer); ok {
		return signer, nil
	}
	return nil, errors.New("not a key for signatures")
}

func cannotRead(what, path string, err error) *Unusable {
	return unusable(KindCertificate, err, "cannot read %s %s: %s; check the path and its permissions", what, path, reason(err))
}
