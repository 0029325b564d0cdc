// Package security decides who comes in: addresses and connections, certificates, keys and tokens.
package security

import (
	"strings"

	"accelform/front/refusal"
	"accelform/front/settings"
	"accelform/front/telemetry"
)

// Guard decides whether a call may come in. Its answers are refusals with codes.Unauthenticated. It may be used from
// any number of goroutines.
type Guard struct {
	by interface {
		admit(candidate string) *refusal.Refusal
		describe() string
	}
}

// NewGuard opens what calls are checked against: the key file, the token keys, or nothing. An error is Unusable.
func NewGuard(s *settings.Settings, log *telemetry.Log) (*Guard, error) {
	switch {
	case s.AuthEnabled:
		found, err := openKeys(s.KeysFile, log)
		if err != nil {
			return nil, err
		}
		return &Guard{by: found}, nil
	case s.TokenAuthEnabled:
		found, err := openTokens(s.TokenKeysFile, s.Name, log)
		if err != nil {
			return nil, err
		}
		return &Guard{by: found}, nil
	}
	return &Guard{}, nil
}

// Admit takes the value of a call's `authorization`: "Bearer X" or a bare X. nil lets the call in.
func (g *Guard) Admit(authorization string) *refusal.Refusal {
	if g.by == nil {
		return nil
	}
	return g.by.admit(candidateOf(authorization))
}

// Describe is what calls need, for the log: "keys", "tokens" or "none".
func (g *Guard) Describe() string {
	if g.by == nil {
		return "none"
	}
	return g.by.describe()
}

// Authorization is what a caller shows. Several headers are joined as HTTP says, which no key equals: which one of them
// counts would otherwise depend on who reads them.
func Authorization(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return strings.Join(values, ", ")
}

func candidateOf(authorization string) string {
	scheme, rest, _ := strings.Cut(authorization, " ")
	if strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(rest)
	}
	return strings.TrimSpace(authorization)
}
