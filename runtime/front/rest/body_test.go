package rest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"accelform/front/intake"
	"accelform/front/refusal"
)

const predict = "/v1/models/digits:predict"

func gzipped(t testing.TB, text string) string {
	t.Helper()
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if _, err := io.WriteString(writer, text); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.String()
}

// chunked sends a body whose length is not announced.
func (d *door) chunked(body io.Reader) *httptest.ResponseRecorder {
	request := httptest.NewRequest("POST", predict, io.MultiReader(body))
	request.Header.Set("Authorization", key)
	recorder := httptest.NewRecorder()
	d.ServeHTTP(recorder, request)
	return recorder
}

func TestARequestMayHaveTheLimitButNotAByteMore(t *testing.T) {
	for _, size := range []int{0, 1, 999, 1000} {
		d, body := newDoor(t, nil), strings.Repeat("x", size)
		expectStatus(t, d.ask("POST", predict, body), 200)
		expectStatus(t, d.chunked(strings.NewReader(body)), 200)
		expectStatus(t, d.ask("POST", predict, gzipped(t, body), "Content-Encoding", "gzip"), 200)
		for _, call := range d.calls {
			if string(call.Body) != body {
				t.Errorf("of %d bytes %d arrived", size, len(call.Body))
			}
		}
	}
	d, body := newDoor(t, nil), strings.Repeat("x", 1001)
	for _, answer := range []*httptest.ResponseRecorder{
		d.ask("POST", predict, body), d.chunked(strings.NewReader(body)),
		d.ask("POST", predict, gzipped(t, body), "Content-Encoding", "gzip"),
	} {
		expectStatus(t, answer, 413)
		if said := errorText(t, answer.Body); !strings.Contains(said, "1000 bytes") {
			t.Errorf("the error says %q", said)
		}
	}
	if len(d.calls) != 0 {
		t.Error("a request that is too long reached the model")
	}
	if line := d.last(t); line["code"] != "RESOURCE_EXHAUSTED" {
		t.Errorf("the log says %v", line)
	}
}

func TestLongRequestsArriveWhole(t *testing.T) {
	d := newDoor(t, func(deps *Deps) {
		deps.Settings.MaxRequestBytes, deps.Ledger = 8<<20, intake.NewLedger(32<<20)
	})
	body := strings.Repeat("0123456789abcdef", 5<<16) // 5 MiB
	expectStatus(t, d.ask("POST", predict, body), 200)
	expectStatus(t, d.chunked(strings.NewReader(body)), 200)
	expectStatus(t, d.ask("POST", predict, gzipped(t, body), "Content-Encoding", "gzip"), 200)
	for _, call := range d.calls {
		if string(call.Body) != body {
			t.Error("the request changed on its way")
		}
	}
}

func TestAGzipBombCostsNoMoreThanTheLimit(t *testing.T) {
	d := newDoor(t, func(deps *Deps) { deps.Settings.MaxRequestBytes = 1 << 20 })
	bomb := gzipped(t, strings.Repeat("\x00", 32<<20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	expectStatus(t, d.ask("POST", predict, bomb, "Content-Encoding", "gzip"), 413)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
		t.Errorf("a bomb of %d bytes took %d bytes of memory", len(bomb), took)
	}
	if held := d.deps.Ledger.Held(); held != 0 {
		t.Errorf("%d bytes are held for nobody", held)
	}
}

func TestWhatIsNotGzipIsRefusedAndAnotherEncodingToo(t *testing.T) {
	d := newDoor(t, nil)
	whole := gzipped(t, `{"instances": [1, 2, 3, 4]}`)
	for _, body := range []string{"", "{}", whole[:len(whole)-5], whole[:12], whole + "more"} {
		expectStatus(t, d.ask("POST", predict, body, "Content-Encoding", "gzip"), 400)
	}
	for _, encoding := range []string{"br", "deflate", "gzip, gzip", "gzip;q=1", "\x00"} {
		answer := d.ask("POST", predict, whole, "Content-Encoding", encoding)
		expectStatus(t, answer, 415)
		if accepted := answer.Header().Get("Accept-Encoding"); accepted != "gzip, identity" {
			t.Errorf("the answer accepts %q", accepted)
		}
	}
	expectStatus(t, d.ask("POST", predict, whole, "Content-Encoding", "GZIP"), 200)
	expectStatus(t, d.ask("POST", predict, "{}", "Content-Encoding", "identity"), 200)
	if len(d.calls) != 2 {
		t.Errorf("%d calls reached the model", len(d.calls))
	}
}

func TestTheBytesOfAllRequestsTogetherAreBounded(t *testing.T) {
	// Of this machine may come seven eighths of it; a request takes one byte more than it announces.
	d := newDoor(t, func(deps *Deps) { deps.Ledger = intake.NewLedger(3000) })
	address, waiting := d.open(t, nil), make([]net.Conn, 2)
	for at := range waiting {
		waiting[at] = dial(t, address)
		post(waiting[at], "Content-Length: 1000\r\n\r\n{")
	}
	eventually(t, "two requests that are on their way", func() bool { return d.deps.Ledger.Held() == 2*1001 })
	third := dial(t, address)
	post(third, "Content-Length: 1000\r\n\r\n"+strings.Repeat("x", 1000))
	refused, err := http.ReadResponse(bufio.NewReader(third), nil)
	if err != nil || refused.StatusCode != 429 || refused.Header.Get("Retry-After") != "1" {
		t.Errorf("one more got %v %v", refused, err)
	}
	for _, connection := range waiting {
		_ = connection.Close()
	}
	eventually(t, "nothing that is held", func() bool { return d.deps.Ledger.Held() == 0 })
}

func TestACallThatIsAdmittedLeavesTheBudget(t *testing.T) {
	d := newDoor(t, nil)
	d.deps.Score = func(context.Context, RestCall) ([]byte, [][2]string, *refusal.Refusal) {
		if held := d.deps.Ledger.Held(); held != 0 {
			t.Errorf("%d bytes are held of a call that is in line", held)
		}
		return []byte("{}"), nil, nil
	}
	d.Handler = New(d.deps)
	expectStatus(t, d.ask("POST", predict, strings.Repeat("x", 1000)), 200)
}

func TestTheCallersPatienceEndsTheCall(t *testing.T) {
	var left time.Duration
	d := newDoor(t, func(deps *Deps) {
		deps.Score = func(ctx context.Context, _ RestCall) ([]byte, [][2]string, *refusal.Refusal) {
			if ends, has := ctx.Deadline(); has {
				left = time.Until(ends)
			}
			return []byte("{}"), nil, nil
		}
	})
	expectStatus(t, d.ask("POST", predict, "{}"), 200)
	if left != 0 {
		t.Errorf("a caller without a timeout waits %s", left)
	}
	expectStatus(t, d.ask("POST", predict, "{}", "X-Timeout-Ms", "5000"), 200)
	if left <= 4*time.Second || left > 5*time.Second {
		t.Errorf("of 5 s the model has %s", left)
	}
}

func TestATimeThatIsOverBeforeTheRequestIsThereIsSaid(t *testing.T) {
	d := newDoor(t, nil)
	reader, writer := io.Pipe()
	go func() {
		<-time.After(30 * time.Millisecond) // longer than the caller waits
		_, _ = writer.Write([]byte("{}"))
		_ = writer.Close()
	}()
	request := httptest.NewRequest("POST", predict, reader)
	request.Header.Set("Authorization", key)
	request.Header.Set("X-Timeout-Ms", "1")
	recorder := httptest.NewRecorder()
	d.ServeHTTP(recorder, request)
	expectStatus(t, recorder, http.StatusGatewayTimeout)
	if len(d.calls) != 0 {
		t.Error("a call whose time is over reached the model")
	}
}

func TestATimeoutThatIsNoNumberOfMillisecondsIsRefused(t *testing.T) {
	d := newDoor(t, nil)
	for _, wrong := range []string{"", "0", "-1", "1.5", "10s", "86400001", "99999999999999999999", "1, 2", " 5"} {
		answer := d.ask("POST", predict, "{}", "X-Timeout-Ms", wrong)
		if answer.Code != 400 || !strings.Contains(errorText(t, answer.Body), "X-Timeout-Ms") {
			t.Errorf("a timeout of %q got %d", wrong, answer.Code)
		}
	}
}
