package security

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"accelform/front/settings"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/codes"
)

const service = "digits"

func publicPEM(t testing.TB, key any) []byte {
	t.Helper()
	content, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: content})
}

func signingKey(t testing.TB) (ed25519.PrivateKey, []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private, publicPEM(t, public)
}

// claims are those of a good token of an hour, with changes; nil takes a claim away.
func claims(changes map[string]any) jwt.MapClaims { return claimsAt(time.Now().Unix(), changes) }

func claimsAt(now int64, changes map[string]any) jwt.MapClaims {
	found := jwt.MapClaims{"aud": service, "iat": now, "exp": now + 3600}
	for name, value := range changes {
		found[name] = value
		if value == nil {
			delete(found, name)
		}
	}
	return found
}

func signed(t testing.TB, method jwt.SigningMethod, key any, content jwt.MapClaims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, content)
	for name, value := range header {
		token.Header[name] = value
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func tokenGuard(t testing.TB, public []byte) (*Guard, string, *recorder) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.pem")
	put(t, path, public)
	log, writer := newRecorder()
	guard, err := NewGuard(&settings.Settings{Service: settings.Service{Name: service, TokenAuthEnabled: true, TokenKeysFile: path}}, writer)
	if err != nil {
		t.Fatal(err)
	}
	return guard, path, log
}

// A token is good for its service from its issue to its end, give or take five seconds, and for a day at most.
func TestTokenClaims(t *testing.T) {
	private, public := signingKey(t)
	guard, _, _ := tokenGuard(t, public)
	now := time.Now().Unix()
	guard.by.(*tokens).now = func() time.Time { return time.Unix(now, 0) }
	for _, sample := range []struct {
		name    string
		changes map[string]any
		words   string // of the refusal; empty: comes in
	}{
		{"an hour", nil, ""},
		{"one of several services", map[string]any{"aud": []string{"other", service}}, ""},
		{"exactly a day", map[string]any{"iat": now - 10, "exp": now - 10 + 86400}, ""},
		{"expired within the leeway", map[string]any{"exp": now - 4}, ""},
		{"issued by a clock that is fast within the leeway", map[string]any{"iat": now + 5, "exp": now + 60}, ""},
		{"expired", map[string]any{"iat": now - 7200, "exp": now - 3600}, "expired 1h0m0s ago, on " + utc(time.Unix(now-3600, 0))},
		{"expired long ago", map[string]any{"exp": -1e15}, "expired"},
		{"expired beyond the leeway", map[string]any{"exp": now - 5}, "expired"},
		{"no end", map[string]any{"exp": nil}, "until when (exp)"},
		{"no start", map[string]any{"iat": nil}, "when it was issued (iat)"},
		{"no service", map[string]any{"aud": nil}, "for which service (aud)"},
		{"empty service", map[string]any{"aud": ""}, "for which service (aud)"},
		{"another service", map[string]any{"aud": "other"}, "for another service, not for " + service},
		{"part of the name", map[string]any{"aud": service + "s"}, "for another service"},
		{"another service and expired", map[string]any{"aud": "other", "exp": now - 60}, "for another service"},
		{"too long", map[string]any{"exp": now + 86401}, "more than 24 hours"},
		{"for ever", map[string]any{"exp": 1e300}, "the token "},
		{"issued in the future", map[string]any{"iat": now + 600, "exp": now + 700}, "issued in the future"},
		{"not before", map[string]any{"nbf": now + 600}, "valid only from"},
		{"a number as text", map[string]any{"exp": "tomorrow"}, "no token"},
	} {
		refused := guard.Admit("Bearer " + signed(t, jwt.SigningMethodEdDSA, private, claimsAt(now, sample.changes), nil))
		if (refused == nil) != (sample.words == "") {
			t.Errorf("%s: %v", sample.name, refused)
			continue
		}
		if refused == nil {
			continue
		}
		if refused.Code != codes.Unauthenticated || !strings.Contains(refused.Message, sample.words) ||
			!strings.Contains(refused.Message, "`accelform token`") {
			t.Errorf("%s: %s", sample.name, refused)
		}
	}
	if guard.Describe() != "tokens" {
		t.Errorf("the guard calls itself %q", guard.Describe())
	}
}

// Only an Ed25519 signature of one of the service's keys counts, whatever a token says about itself.
func TestForgedTokens(t *testing.T) {
	private, public := signingKey(t)
	stranger, _ := signingKey(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	guard, _, _ := tokenGuard(t, public)
	good := signed(t, jwt.SigningMethodEdDSA, private, claims(nil), nil)
	parts := strings.Split(good, ".")
	encode := func(value any) string {
		content, _ := json.Marshal(value)
		return base64.RawURLEncoding.EncodeToString(content)
	}
	const unknown = "not signed by this service's key"
	for name, sample := range map[string]struct{ token, words string }{
		"nothing":     {"", "needs a token"},
		"a key":       {primary, "no token"},
		"dots":        {"..", "no token"},
		"another key": {signed(t, jwt.SigningMethodEdDSA, stranger, claims(nil), nil), unknown},
		"the public key as a secret": {
			signed(t, jwt.SigningMethodHS256, []byte(private.Public().(ed25519.PublicKey)), claims(nil), nil), unknown},
		"the PEM text as a secret": {signed(t, jwt.SigningMethodHS256, public, claims(nil), nil), unknown},
		"another algorithm":        {signed(t, jwt.SigningMethodES256, curve, claims(nil), nil), unknown},
		"no algorithm":             {signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(nil), nil), unknown},
		"an unknown algorithm":     {encode(map[string]string{"alg": "EdDSA2"}) + "." + parts[1] + "." + parts[2], unknown},
		"a number as algorithm":    {encode(map[string]int{"alg": 1}) + "." + parts[1] + "." + parts[2], unknown},
		"a changed header":         {encode(map[string]string{"alg": "EdDSA", "kid": "x"}) + "." + parts[1] + "." + parts[2], unknown},
		"changed claims":           {parts[0] + "." + encode(claims(map[string]any{"exp": time.Now().Unix() + 7200})) + "." + parts[2], unknown},
		"no signature":             {parts[0] + "." + parts[1] + ".", unknown},
		"half a signature":         {good[:len(good)-40], unknown},
		"a key of its own": {signed(t, jwt.SigningMethodEdDSA, stranger, claims(nil), map[string]any{
			"jwk": map[string]string{"kty": "OKP", "x": base64.RawURLEncoding.EncodeToString(stranger.Public().(ed25519.PublicKey))}}), unknown},
		"critical headers": {signed(t, jwt.SigningMethodEdDSA, private, claims(nil), map[string]any{"crit": []string{"b64"}}), "checks that this service does not know"},
		"not base64":       {"%%%." + parts[1] + "." + parts[2], "no token"},
		"too long":         {good + strings.Repeat("A", longestToken), "no token"},
	} {
		refused := guard.Admit("Bearer " + sample.token)
		if refused == nil || refused.Code != codes.Unauthenticated || !strings.Contains(refused.Message, sample.words) {
			t.Errorf("%s: %v", name, refused)
		}
	}
	if refused := guard.Admit("bearer " + good); refused != nil {
		t.Errorf("the good token is refused: %s", refused)
	}
}

// Several keys count at once, so that signing keys can be replaced without a gap.
func TestTokenKeyRotation(t *testing.T) {
	first, firstPEM := signingKey(t)
	second, secondPEM := signingKey(t)
	guard, path, log := tokenGuard(t, firstPEM)
	old := signed(t, jwt.SigningMethodEdDSA, first, claims(nil), nil)
	fresh := signed(t, jwt.SigningMethodEdDSA, second, claims(nil), nil)
	both := slices.Concat(firstPEM, []byte("a comment\n"), secondPEM)
	for _, step := range []struct {
		file       []byte
		old, fresh bool
	}{
		{firstPEM, true, false}, {both, true, true}, {both[:len(both)-20], true, true}, {secondPEM, false, true},
	} {
		put(t, path, step.file)
		if (guard.Admit(old) == nil) != step.old || (guard.Admit(fresh) == nil) != step.fresh {
			t.Errorf("old and new token do not come in as %+v says", step)
		}
	}
	if !slices.Equal(log.states(t), []string{"reloaded", "kept", "reloaded"}) {
		t.Errorf("the log says %s", log)
	}
}

// A service does not start on a file that holds anything but Ed25519 public keys, and a private key is not repeated.
func TestUnusableTokenKeys(t *testing.T) {
	private, public := signingKey(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	secretPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	for words, content := range map[string][]byte{
		"holds no public key":        []byte("nothing"),
		"holds a private key":        secretPEM,
		"holds a private key, which": slices.Concat(public, secretPEM),
		"is not Ed25519":             publicPEM(t, &curve.PublicKey),
		"is damaged":                 public[:len(public)-9],
		"is damaged;":                slices.Concat(public, public[:20]),
		"something else than public": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		"is damaged; write it again": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
	} {
		path := filepath.Join(t.TempDir(), "tokens.pem")
		put(t, path, content)
		_, log := newRecorder()
		_, err := NewGuard(&settings.Settings{Service: settings.Service{Name: service, TokenAuthEnabled: true, TokenKeysFile: path}}, log)
		var found *Unusable
		if !errors.As(err, &found) || found.Kind != KindTokenKeys || !strings.Contains(found.Message, words) {
			t.Errorf("%s: %v", words, err)
		}
		if err != nil && strings.Contains(err.Error(), base64.StdEncoding.EncodeToString(secret)[20:40]) {
			t.Error("the error repeats a private key")
		}
	}
}

func BenchmarkTokens(b *testing.B) {
	private, public := signingKey(b)
	guard, _, _ := tokenGuard(b, public)
	token := "Bearer " + signed(b, jwt.SigningMethodEdDSA, private, claims(nil), nil)
	for b.Loop() {
		guard.Admit(token)
	}
}
