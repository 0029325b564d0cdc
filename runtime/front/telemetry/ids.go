package telemetry

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// LongestClientID is what the log keeps of a caller's own id.
const LongestClientID = 128

// NewRequestID makes the service's own name of a request.
func NewRequestID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails: the program ends instead
	return hex.EncodeToString(id[:])
}

// ClientID is a caller's own id of a request, the first where there are several, as far as it can stand in a log:
// printable ASCII without spaces and without what JSON would write in another way, and short.
func ClientID(given []string) string {
	if len(given) == 0 {
		return ""
	}
	kept := strings.Map(func(r rune) rune {
		if r < '!' || r > '~' || strings.ContainsRune(`"\<>&`, r) {
			return -1
		}
		return r
	}, given[0][:min(len(given[0]), 2*LongestClientID)])
	return kept[:min(len(kept), LongestClientID)]
}
