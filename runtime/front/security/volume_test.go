package security

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"accelform/front/settings"
)

// volume is a folder as a kubelet mounts a secret: each file is a link through `..data`, which is a link to a folder of
// one state; a new state comes with one rename of `..data`.
type volume struct {
	folder string
	states int
}

func (v *volume) path(name string) string { return filepath.Join(v.folder, name) }

func (v *volume) write(t *testing.T, files map[string][]byte) {
	t.Helper()
	v.states++
	state := fmt.Sprintf("..2026_11_26_%d", v.states)
	old, _ := os.Readlink(v.path("..data"))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Mkdir(v.path(state), 0o755))
	for name, content := range files {
		check(os.WriteFile(filepath.Join(v.path(state), name), content, 0o400))
		if v.states == 1 {
			check(os.Symlink(filepath.Join("..data", name), v.path(name)))
		}
	}
	check(os.Symlink(state, v.path("..data_tmp")))
	check(os.Rename(v.path("..data_tmp"), v.path("..data")))
	if old != "" {
		check(os.RemoveAll(v.path(old)))
	}
}

// A new state of a mounted secret is in force with the next call and the next connection, key by key and pair by pair.
func TestSecretVolume(t *testing.T) {
	ca := newAuthority(t, "authority")
	mounted := &volume{folder: t.TempDir()}
	state := func(number int) map[string][]byte {
		made := ca.issue(t, fmt.Sprintf("state-%d", number), nil, nil)
		return map[string][]byte{
			"keys.json": keyFile(t, fmt.Sprintf("key-of-state-%d", number)),
			"tls.pem":   append(append([]byte{}, made.key...), made.certificate...),
		}
	}
	mounted.write(t, state(0))
	_, log := newRecorder()
	guard, err := NewGuard(&settings.Settings{Service: settings.Service{AuthEnabled: true, KeysFile: mounted.path("keys.json")}}, log)
	if err != nil {
		t.Fatal(err)
	}
	certificates, _, _ := opened(t, certificateFiles{certificate: mounted.path("tls.pem"), key: mounted.path("tls.pem")})
	address := served(t, certificates.Config("h2"))
	for number := range 20 {
		if number > 0 {
			mounted.write(t, state(number))
		}
		if refused := guard.Admit(fmt.Sprintf("Bearer key-of-state-%d", number)); refused != nil {
			t.Fatalf("state %d: its key is refused: %s", number, refused)
		}
		if number > 0 && guard.Admit(fmt.Sprintf("Bearer key-of-state-%d", number-1)) == nil {
			t.Fatalf("state %d: the key before it comes in", number)
		}
		if found := subject(address, ca); found != fmt.Sprintf("state-%d", number) {
			t.Fatalf("state %d: the certificate of %s is in force", number, found)
		}
	}
}
