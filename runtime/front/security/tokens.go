package security

import (
	"errors"
	"strings"
	"time"

	"accelform/front/refusal"
	"accelform/front/telemetry"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/codes"
)

const (
	// tokenLeeway is how far the clocks of who signs and who checks may differ.
	tokenLeeway = 5 * time.Second
	// longestLife is the longest time from a token's issue to its end.
	longestLife = 24 * time.Hour
	// longestToken is far above what `accelform token` makes.
	longestToken = 8192

	getOne = "get a new one with `accelform token`"
)

var errCritical = errors.New("the token has critical headers")

// tokens admits who has a token that one of the file's keys signed for this service and that is still valid.
type tokens struct {
	service string
	file    *watched[jwt.VerificationKeySet]
	parser  *jwt.Parser
	now     func() time.Time
}

func openTokens(path, service string, log *telemetry.Log) (*tokens, error) {
	file, err := watch(path, source[jwt.VerificationKeySet]{
		kind:   KindTokenKeys,
		what:   "token key file",
		remedy: "write it again with the Ed25519 public keys that the service's tokens are signed for, as PEM",
		event:  "token_keys",
		parse:  parseTokenKeys,
	}, log)
	if err != nil {
		return nil, err
	}
	t := &tokens{service: service, file: file, now: time.Now}
	t.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithAudience(service),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(tokenLeeway),
		jwt.WithTimeFunc(func() time.Time { return t.now() }),
	)
	return t, nil
}

func (t *tokens) describe() string { return "tokens" }

func (t *tokens) admit(candidate string) *refusal.Refusal {
	if candidate == "" {
		return unauthenticated("this service needs a token: send metadata `authorization: Bearer TOKEN`; " + getOne)
	}
	if len(candidate) > longestToken || strings.Count(candidate, ".") != 2 {
		return unauthenticated("what was sent is no token; " + getOne)
	}
	keys := t.file.get()
	var claims jwt.RegisteredClaims
	_, err := t.parser.ParseWithClaims(candidate, &claims, func(token *jwt.Token) (any, error) {
		if _, found := token.Header["crit"]; found {
			return nil, errCritical
		}
		return keys, nil
	})
	if err != nil {
		return unauthenticated(t.why(err, &claims) + "; " + getOne)
	}
	return t.lifetime(&claims)
}

// why says what is wrong with a token. Claims are repeated only from tokens whose signature is good.
func (t *tokens) why(err error, claims *jwt.RegisteredClaims) string {
	now := t.now()
	switch {
	case errors.Is(err, errCritical):
		return "the token asks for checks that this service does not know"
	case errors.Is(err, jwt.ErrTokenMalformed):
		return "what was sent is no token"
	case !errors.Is(err, jwt.ErrTokenInvalidClaims):
		return "the token was not signed by this service's key"
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return "the token is for another service, not for " + t.service
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return "the token does not say until when (exp) or for which service (aud) it is valid"
	case errors.Is(err, jwt.ErrTokenExpired):
		return "the token expired " + ago(now.Sub(claims.ExpiresAt.Time)) + ", on " + utc(claims.ExpiresAt.Time)
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return "the token was issued in the future, on " + utc(claims.IssuedAt.Time) + ", and it is " + utc(now) +
			" here; set the clocks"
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return "the token is valid only from " + utc(claims.NotBefore.Time) + " on"
	}
	return "the token's claims cannot be read"
}

// lifetime refuses a token that says no start or is valid for too long: it could hardly be withdrawn.
func (t *tokens) lifetime(claims *jwt.RegisteredClaims) *refusal.Refusal {
	if claims.IssuedAt == nil {
		return unauthenticated("the token does not say when it was issued (iat); " + getOne)
	}
	if claims.ExpiresAt.Sub(claims.IssuedAt.Time) > longestLife {
		return unauthenticated("the token is valid for more than 24 hours, the longest this service takes; " + getOne)
	}
	return nil
}

func unauthenticated(message string) *refusal.Refusal {
	return &refusal.Refusal{Code: codes.Unauthenticated, Message: message}
}

func utc(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// ago is a time that has passed, in the unit that people would use.
func ago(passed time.Duration) string {
	switch {
	case passed < 2*time.Minute:
		return passed.Round(time.Second).String() + " ago"
	case passed < 2*time.Hour:
		return passed.Round(time.Minute).String() + " ago"
	}
	return passed.Round(time.Hour).String() + " ago"
}
