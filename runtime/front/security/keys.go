package security

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"

	"accelform/front/refusal"
	"accelform/front/telemetry"

	"google.golang.org/grpc/codes"
)

const (
	keySchema    = 1
	keyAlgorithm = "hmac-sha256"
	// longestKey is LONGEST_KEY of accelform_runtime/keys.py.
	longestKey = 512

	keyRefusal = "this service needs a key: send metadata `authorization: Bearer KEY` with its primary or secondary key"
)

// keyHash is one key as the file has it: the salt, and HMAC-SHA256 of the key under it.
type keyHash struct {
	salt   []byte
	digest [sha256.Size]byte
}

// keys admits who has one of the service's keys.
type keys struct {
	file *watched[[]keyHash]
}

func openKeys(path string, log *telemetry.Log) (*keys, error) {
	file, err := watch(path, source[[]keyHash]{
		kind:   KindKeys,
		what:   "key file",
		remedy: "write it again with the service's keys",
		event:  "keys",
		parse:  parseKeys,
	}, log)
	if err != nil {
		return nil, err
	}
	return &keys{file: file}, nil
}

func (k *keys) describe() string { return "keys" }

func (k *keys) admit(candidate string) *refusal.Refusal {
	// A check costs in proportion to its key; what is longer than every key is none.
	if len(candidate) <= longestKey && isKey(k.file.get(), candidate, subtle.ConstantTimeCompare) {
		return nil
	}
	return refusal.New(codes.Unauthenticated, keyRefusal)
}

// isKey is whether `candidate` is one of `hashes`. Every hash is compared in full, so that the time taken depends
// neither on which of them it is nor on how close it came.
func isKey(hashes []keyHash, candidate string, compare func(x, y []byte) int) bool {
	matched := 0
	key := []byte(candidate)
	var digest [sha256.Size]byte
	for index := range hashes {
		made := hmac.New(sha256.New, hashes[index].salt)
		made.Write(key)
		matched |= compare(made.Sum(digest[:0]), hashes[index].digest[:])
	}
	return matched == 1
}

// parseKeys reads what accelform_runtime/keys.py writes.
func parseKeys(content []byte) ([]keyHash, string) {
	var file struct {
		Schema    *int    `json:"schema"`
		Algorithm *string `json:"algorithm"`
		Keys      []struct {
			Salt   *string `json:"salt"`
			Digest *string `json:"digest"`
		} `json:"keys"`
	}
	if json.Unmarshal(content, &file) != nil || file.Schema == nil || file.Algorithm == nil {
		return nil, "is damaged"
	}
	if *file.Schema != keySchema || *file.Algorithm != keyAlgorithm {
		return nil, "is of another version than this runtime reads"
	}
	hashes := make([]keyHash, 0, len(file.Keys))
	for _, entry := range file.Keys {
		if entry.Salt == nil || entry.Digest == nil {
			return nil, "is damaged"
		}
		salt, saltErr := hex.DecodeString(*entry.Salt)
		digest, digestErr := hex.DecodeString(*entry.Digest)
		if saltErr != nil || digestErr != nil {
			return nil, "is damaged"
		}
		if len(digest) != sha256.Size {
			return nil, "holds no usable key"
		}
		hashes = append(hashes, keyHash{salt: salt, digest: [sha256.Size]byte(digest)})
	}
	if len(hashes) == 0 {
		return nil, "holds no usable key"
	}
	return hashes, ""
}
