package security

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

var pemBegin = []byte("-----BEGIN ")

// pemBlocks are all PEM blocks of `content`. A block that was begun and cannot be read, as in a file that is not
// written to its end, makes the whole unusable.
func pemBlocks(content []byte) ([]*pem.Block, bool) {
	begun := bytes.Count(content, pemBegin)
	var blocks []*pem.Block
	for {
		block, rest := pem.Decode(content)
		if block == nil {
			return blocks, len(blocks) == begun
		}
		blocks = append(blocks, block)
		content = rest
	}
}

func parseTokenKeys(content []byte) (jwt.VerificationKeySet, string) {
	var found jwt.VerificationKeySet
	blocks, whole := pemBlocks(content)
	for _, block := range blocks {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return found, "holds a private key, which does not belong on a server"
		}
		if block.Type != "PUBLIC KEY" {
			return found, "holds something else than public keys"
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return found, "is damaged"
		}
		public, ok := key.(ed25519.PublicKey)
		if !ok {
			return found, "holds a public key that is not Ed25519"
		}
		found.Keys = append(found.Keys, public)
	}
	if !whole {
		return found, "is damaged"
	}
	if len(found.Keys) == 0 {
		return found, "holds no public key"
	}
	return found, ""
}
