package security

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"accelform/front/telemetry"
)

// recorder keeps what is logged.
type recorder struct {
	mutex sync.Mutex
	text  bytes.Buffer
	log   *telemetry.Log
}

func newRecorder() (*recorder, *telemetry.Log) {
	r := &recorder{}
	r.log = telemetry.NewLog(r)
	return r, r.log
}

func (r *recorder) Write(line []byte) (int, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.text.Write(line)
}

func (r *recorder) String() string {
	r.log.Flush()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.text.String()
}

// states are the `state` fields of all lines, in order.
func (r *recorder) states(t *testing.T) []string {
	t.Helper()
	found := []string{}
	for _, line := range bytes.Split([]byte(r.String()), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var fields struct{ State string }
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("a log line is not JSON: %s", line)
		}
		found = append(found, fields.State)
	}
	return found
}

// put replaces a file in one step, as tools that rotate keys do.
func put(t testing.TB, path string, content []byte) {
	t.Helper()
	temporary := filepath.Join(filepath.Dir(path), ".new."+filepath.Base(path))
	overwrite(t, temporary, content)
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
}

// overwrite writes into the file that is there, as an editor or `cp` does.
func overwrite(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// keyFile is what accelform_runtime/keys.py writes for `keys`.
func keyFile(t testing.TB, keys ...string) []byte {
	t.Helper()
	entries := []map[string]string{}
	for _, key := range keys {
		salt := make([]byte, 16)
		if _, err := rand.Read(salt); err != nil {
			t.Fatal(err)
		}
		digest := hmac.New(sha256.New, salt)
		digest.Write([]byte(key))
		entries = append(entries, map[string]string{
			"salt": hex.EncodeToString(salt), "digest": hex.EncodeToString(digest.Sum(nil)),
		})
	}
	content, err := json.Marshal(map[string]any{"schema": 1, "algorithm": "hmac-sha256", "keys": entries})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// clock is a time that tests move; each reading moves it by `step` too.
type clock struct {
	offset, step atomic.Int64
}

func (c *clock) now() time.Time {
	return time.Now().Add(time.Duration(c.offset.Add(c.step.Load())))
}

func (c *clock) move(by time.Duration) { c.offset.Add(int64(by)) }
