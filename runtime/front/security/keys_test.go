package security

import (
	"crypto/subtle"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"accelform/front/settings"

	"google.golang.org/grpc/codes"
)

const (
	primary   = "primaryPRIMARYprimaryPRIMARY0123"
	secondary = "secondarySECONDARYsecondaryS0123"
	stranger  = "strangerSTRANGERstrangerSTRA0123"
)

func keyGuard(t *testing.T, content []byte) (*Guard, string, *recorder) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	put(t, path, content)
	log, writer := newRecorder()
	guard, err := NewGuard(&settings.Settings{Service: settings.Service{AuthEnabled: true, KeysFile: path}}, writer)
	if err != nil {
		t.Fatal(err)
	}
	return guard, path, log
}

// Each key comes in, after any spelling of the scheme or bare; nothing else does.
func TestKeysThatComeIn(t *testing.T) {
	guard, _, _ := keyGuard(t, keyFile(t, primary, secondary))
	for _, good := range []string{
		"Bearer " + primary, "bearer " + secondary, "BEARER  " + primary + " ", primary, " " + secondary,
	} {
		if refused := guard.Admit(good); refused != nil {
			t.Errorf("%q is refused: %s", good, refused)
		}
	}
	for _, bad := range []string{
		"", " ", "Bearer", "Bearer ", "Basic " + primary, "Bearer " + primary[:31], "Bearer " + primary + "x",
		"Bearer " + strings.ToUpper(primary), "Bearer " + primary + " " + secondary, "Bearer Bearer " + primary,
		stranger, "\xff\x00", strings.Repeat("k", 1<<20),
	} {
		refused := guard.Admit(bad)
		if refused == nil || refused.Code != codes.Unauthenticated || !strings.Contains(refused.Message, "Bearer KEY") {
			t.Errorf("%.60q gets %v", bad, refused)
		}
	}
	if guard.Describe() != "keys" {
		t.Errorf("the guard calls itself %q", guard.Describe())
	}
}

// Without keys and tokens everybody comes in.
func TestNoGuard(t *testing.T) {
	_, log := newRecorder()
	guard, err := NewGuard(&settings.Settings{}, log)
	if err != nil || guard.Admit("") != nil || guard.Admit("Bearer x") != nil || guard.Describe() != "none" {
		t.Errorf("a service for everybody refuses: %v", err)
	}
}

// Every key is compared in full, wherever the right one stands: that is what makes a check's time tell nothing.
func TestEveryKeyIsCompared(t *testing.T) {
	hashes, wrong := parseKeys(keyFile(t, primary, secondary, stranger))
	if wrong != "" {
		t.Fatal(wrong)
	}
	for candidate, known := range map[string]bool{primary: true, secondary: true, stranger: true, "": false, "x": false} {
		compared := 0
		matched := isKey(hashes, candidate, func(x, y []byte) int {
			if len(x) != 32 || len(y) != 32 {
				t.Errorf("digests of %d and %d bytes are compared", len(x), len(y))
			}
			compared++
			return subtle.ConstantTimeCompare(x, y)
		})
		if matched != known || compared != len(hashes) {
			t.Errorf("%q: matched %t after %d of %d comparisons", candidate, matched, compared, len(hashes))
		}
	}
}

// A new file takes effect at the next check, also when it has the size and the time of the old one, and is logged once.
func TestKeyRotation(t *testing.T) {
	for name, write := range map[string]func(testing.TB, string, []byte){"replaced": put, "overwritten": overwrite} {
		t.Run(name, func(t *testing.T) {
			guard, path, log := keyGuard(t, keyFile(t, primary))
			old := primary
			for _, next := range []string{secondary, stranger, primary, secondary} {
				write(t, path, keyFile(t, next))
				if guard.Admit(old) == nil || guard.Admit(next) != nil || guard.Admit(next) != nil {
					t.Fatalf("after the change from %s to %s the old key counts", old, next)
				}
				old = next
			}
			if want := slices.Repeat([]string{"reloaded"}, 4); !slices.Equal(log.states(t), want) {
				t.Errorf("the log says %s", log)
			}
		})
	}
}

// One of two keys is replaced; the other comes in all the time.
func TestOneKeyStays(t *testing.T) {
	guard, path, _ := keyGuard(t, keyFile(t, primary, secondary))
	put(t, path, keyFile(t, stranger, secondary))
	if guard.Admit(secondary) != nil || guard.Admit(stranger) != nil || guard.Admit(primary) == nil {
		t.Error("replacing the primary key is not what happened")
	}
}

// Files from which no key can be read, and why.
var damaged = map[string]string{
	"":   "damaged",
	"{":  "damaged",
	"[]": "damaged",
	`{"schema": 1, "algorithm": "hmac-sha256"}`:                                           "no usable key",
	`{"schema": 2, "algorithm": "hmac-sha256", "keys": []}`:                               "another version",
	`{"schema": 1, "algorithm": "md5", "keys": []}`:                                       "another version",
	`{"schema": 1, "algorithm": "hmac-sha256", "keys": [{"salt": "zz", "digest": "00"}]}`: "damaged",
	`{"schema": 1, "algorithm": "hmac-sha256", "keys": [{"salt": "00", "digest": "00"}]}`: "no usable key",
	`{"schema": 1, "algorithm": "hmac-sha256", "keys": [{"salt": "00"}]}`:                 "damaged",
	string(make([]byte, largestFile+1)):                                                   "1 MiB",
}

// A file without keys keeps the last good ones in force and is logged once, with what to do; a good one takes over.
func TestDamagedKeysKeepTheLastOnes(t *testing.T) {
	for content, words := range damaged {
		guard, path, log := keyGuard(t, keyFile(t, primary))
		put(t, path, []byte(content))
		for range 3 {
			if guard.Admit(primary) != nil || guard.Admit(stranger) == nil {
				t.Fatalf("%.40q changes who comes in", content)
			}
		}
		put(t, path, keyFile(t, secondary))
		if guard.Admit(secondary) != nil || guard.Admit(primary) == nil {
			t.Errorf("after %.40q a good file does not count", content)
		}
		if !slices.Equal(log.states(t), []string{"kept", "reloaded"}) || !strings.Contains(log.String(), words) {
			t.Errorf("%.40q: the log says %s", content, log)
		}
	}
}

// A key file that vanishes locks nobody out; a service does not start on one that is not there or not a file.
func TestMissingKeys(t *testing.T) {
	guard, path, log := keyGuard(t, keyFile(t, primary))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if guard.Admit(primary) != nil || guard.Admit(primary) != nil || !slices.Equal(log.states(t), []string{"kept"}) {
		t.Errorf("the log says %s", log)
	}
	for _, place := range []string{path, filepath.Dir(path)} {
		_, writer := newRecorder()
		_, err := NewGuard(&settings.Settings{Service: settings.Service{AuthEnabled: true, KeysFile: place}}, writer)
		var found *Unusable
		if !errors.As(err, &found) || found.Kind != KindKeys || !strings.Contains(found.Message, place) {
			t.Errorf("%s: %v", place, err)
		}
	}
}

// While the file is rotated under many checks, a key of both the old and the new file comes in every time.
func TestKeyRotationUnderLoad(t *testing.T) {
	guard, path, log := keyGuard(t, keyFile(t, primary, secondary))
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if guard.Admit(secondary) != nil || guard.Admit("neither of them") == nil {
					t.Error("a rotation let the wrong one in, or kept the right one out")
					return
				}
			}
		})
	}
	for round := range 50 {
		other := []string{primary, stranger}[round%2]
		put(t, path, keyFile(t, other, secondary))
		if guard.Admit(other) != nil {
			t.Error("a new key does not count at the first check")
		}
	}
	close(stop)
	callers.Wait()
	for _, secret := range []string{primary, secondary, stranger} {
		if strings.Contains(log.String(), secret) {
			t.Error("a key is in the log")
		}
	}
}

func BenchmarkKeys(b *testing.B) {
	path := filepath.Join(b.TempDir(), "keys.json")
	put(b, path, keyFile(b, primary, secondary))
	_, log := newRecorder()
	guard, err := NewGuard(&settings.Settings{Service: settings.Service{AuthEnabled: true, KeysFile: path}}, log)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		guard.Admit("Bearer " + secondary)
	}
}
