package security

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// withoutFiles runs what is given while this program can open no file.
func withoutFiles(t *testing.T, run func()) {
	t.Helper()
	var had syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &had); err != nil {
		t.Fatal(err)
	}
	none := had
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &had)
	run()
}

// A key file that cannot be read when it changes, since files have run out, is read as soon as it can be, however long
// that takes and though it does not change again; each is told once.
func TestKeysThatCannotBeReadForAWhile(t *testing.T) {
	guard, path, log := keyGuard(t, keyFile(t, primary))
	put(t, path, keyFile(t, secondary))
	for !stampOf(path).settled(time.Now(), clockStep) {
	}
	withoutFiles(t, func() {
		for range 5 {
			if guard.Admit(primary) != nil || guard.Admit(secondary) == nil {
				t.Fatal("the keys are others although nobody could read them")
			}
		}
	})
	for range 5 {
		if guard.Admit(primary) == nil || guard.Admit(secondary) != nil {
			t.Fatalf("the withdrawn key is good: %s", log)
		}
	}
	if !slices.Equal(log.states(t), []string{"kept", "reloaded"}) {
		t.Errorf("the log says %s", log)
	}
	for _, words := range []string{"too many open files", `"read_again":true`} {
		if !strings.Contains(log.String(), words) {
			t.Errorf("the log does not say %s: %s", words, log)
		}
	}
}

// A reason that changes is told, and one that stays is not told again.
func TestTheReasonIsToldOnce(t *testing.T) {
	guard, path, log := keyGuard(t, keyFile(t, primary))
	put(t, path, keyFile(t, secondary))
	for range 3 {
		withoutFiles(t, func() { guard.Admit(primary) })
	}
	remove(t, path)
	for range 3 {
		guard.Admit(primary)
	}
	put(t, path, keyFile(t, secondary))
	if guard.Admit(secondary) != nil || !slices.Equal(log.states(t), []string{"kept", "kept", "reloaded"}) {
		t.Errorf("the log says %s", log)
	}
}

// So is a certificate.
func TestACertificateThatCannotBeReadForAWhile(t *testing.T) {
	ca := newAuthority(t, "authority")
	files := filesIn(t, ca.issue(t, "old", nil, nil), nil)
	certificates, clock, log := opened(t, files)
	next := ca.issue(t, "next", nil, nil)
	put(t, files.certificate, next.certificate)
	put(t, files.key, next.key)
	clock.move(time.Minute)
	withoutFiles(t, func() {
		for range 3 {
			clock.move(lookEvery)
			if found := certificates.current().leaf.Subject.CommonName; found != "old" {
				t.Fatalf("%q is in force", found)
			}
		}
	})
	clock.move(lookEvery)
	if found := certificates.current().leaf.Subject.CommonName; found != "next" {
		t.Errorf("%q is in force: %s", found, log)
	}
	if !slices.Equal(log.states(t), []string{"loaded", "kept", "reloaded"}) || !strings.Contains(log.String(), "too many open files") {
		t.Errorf("the log says %s", log)
	}
}
