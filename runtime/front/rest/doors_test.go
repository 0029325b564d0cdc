package rest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"accelform/front/refusal"
	"accelform/front/telemetry"
)

func (d *door) askWithout(method, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	d.ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
	return recorder
}

func TestProbesNeedNoKeyAndLeaveNoTrace(t *testing.T) {
	ready, live := true, true
	d := newDoor(t, func(deps *Deps) {
		deps.Ready = func() bool { return ready }
		deps.Live = func() bool { return live }
	})
	before := d.scraped()
	expectStatus(t, d.askWithout("GET", "/healthz"), 200)
	expectStatus(t, d.askWithout("HEAD", "/readyz"), 200)
	ready = false
	expectStatus(t, d.askWithout("GET", "/healthz"), 200)
	expectStatus(t, d.askWithout("GET", "/readyz"), 503)
	live = false
	expectStatus(t, d.askWithout("GET", "/healthz"), 503)
	if len(d.log.requests(t)) != 0 {
		t.Error("probes fill the log")
	}
	for line := range strings.Lines(before) {
		if strings.HasPrefix(line, "accelform_requests_total") && !strings.Contains(d.scraped(), line) {
			t.Errorf("a probe changed %s", line)
		}
	}
}

func TestEveryOtherRouteNeedsAKey(t *testing.T) {
	d := newDoor(t, nil)
	for _, request := range [][2]string{
		{"GET", "/metrics"}, {"GET", "/monitoring/prometheus/metrics"}, {"GET", "/v1/models"},
		{"GET", "/v1/models/digits"}, {"GET", "/v1/models/digits/metadata"}, {"POST", "/v1/models/digits:predict"},
		{"POST", "/v1/models/digits:classify"}, {"POST", "/v1/models/digits:regress"}, {"GET", "/"}, {"GET", "/no/such"},
		{"DELETE", "/v1/models/digits"}, {"OPTIONS", "*"}, {"GET", "/healthz/"}, {"GET", "//healthz"},
		{"GET", "/v1/models/digits/versions/x"}, {"GET", "/HEALTHZ"},
	} {
		answer := d.askWithout(request[0], request[1])
		if answer.Code != 401 || answer.Header().Get("WWW-Authenticate") != "Bearer" ||
			answer.Header().Get("X-Request-Id") == "" {
			t.Errorf("%v without a key got %d %v", request, answer.Code, answer.Header())
		}
		if len(d.calls) != 0 {
			t.Fatalf("%v reached the model without a key", request)
		}
	}
	if line := d.last(t); line["code"] != "UNAUTHENTICATED" {
		t.Errorf("the log says %v", line)
	}
}

func TestTwoAuthorizationsAreNone(t *testing.T) {
	d := newDoor(t, nil)
	request := httptest.NewRequest("GET", "/v1/models/digits", nil)
	request.Header["Authorization"] = []string{key, "Bearer other"}
	recorder := httptest.NewRecorder()
	d.ServeHTTP(recorder, request)
	expectStatus(t, recorder, 401)
}

func TestAServiceWithoutAuthenticationAsksForNothing(t *testing.T) {
	d := newDoor(t, func(deps *Deps) { deps.Admit = nil })
	expectStatus(t, d.askWithout("GET", "/v1/models/digits"), 200)
}

func TestMetricsAreAtBothPathsAndMayBeOpen(t *testing.T) {
	d := newDoor(t, nil)
	for _, path := range []string{"/metrics", "/monitoring/prometheus/metrics"} {
		answer := d.ask("GET", path, "")
		expectStatus(t, answer, 200)
		if !strings.Contains(answer.Body.String(), "accelform_requests_total{") ||
			!strings.HasPrefix(answer.Header().Get("Content-Type"), "text/plain") {
			t.Errorf("%s answers %v", path, answer.Header())
		}
	}
	d.deps.Settings.MetricsOpen = true
	expectStatus(t, d.askWithout("GET", "/metrics"), 200)
	expectStatus(t, d.askWithout("GET", "/v1/models/digits"), 401)
}

func TestAnotherVerbIsToldWhichOnesThereAre(t *testing.T) {
	d := newDoor(t, nil)
	for _, request := range [][3]string{
		{"POST", "/healthz", "GET, HEAD"}, {"PUT", "/readyz", "GET, HEAD"}, {"POST", "/metrics", "GET, HEAD"},
		{"POST", "/v1/models/digits", "GET, HEAD"}, {"DELETE", "/v1/models/digits/metadata", "GET, HEAD"},
		{"GET", "/v1/models/digits:predict", "POST"}, {"OPTIONS", "/v1/models/digits:regress", "POST"},
		{"get", "/v1/models/digits", "GET, HEAD"},
	} {
		answer := d.ask(request[0], request[1], "")
		expectStatus(t, answer, 405)
		if allow := answer.Header().Get("Allow"); allow != request[2] {
			t.Errorf("%v: Allow is %q", request, allow)
		}
		errorText(t, answer.Body)
	}
	expectStatus(t, d.ask("HEAD", "/v1/models/digits", ""), 200)
}

func TestAnUnknownPathIs404(t *testing.T) {
	d := newDoor(t, nil)
	for _, path := range []string{
		"/", "/v1", "/v1/", "/v1/models/", "/v1/models/:predict", "/v1/models/digits:explain", "/v1/models/digits/",
		"/v1/models/digits:predict/", "/v1/models/digits/versions", "/v1/models/digits/versions/3/more",
		"/v1/models/digits/metadata:predict", "/v1/models/a:b:predict", "/v1/models/%ff:predict", "/v1/modelsdigits",
		"/v1/models/digits/labels/:predict", "/v2/models/digits", "/v1/models/digits/versions/3/labels/x",
		"/../healthz", "/v1/models/../../healthz", "/v1/models/digits:Predict", "/metrics/", "/v1/models//versions/3",
	} {
		answer := d.ask("GET", path, "")
		if answer.Code != 404 {
			t.Errorf("%s got %d", path, answer.Code)
		}
		errorText(t, answer.Body)
	}
	if line := d.last(t); line["method"] != "other" || line["code"] != "NOT_FOUND" {
		t.Errorf("the log says %v", line)
	}
}

func TestAVersionThatIsNoNumberIsSaid(t *testing.T) {
	d := newDoor(t, nil)
	for _, version := range []string{"latest", "-1", "+1", "9223372036854775808", "1.0", "0x1", "%31"} {
		answer := d.ask("POST", "/v1/models/digits/versions/"+version+":predict", "{}")
		if answer.Code != 400 || !strings.Contains(errorText(t, answer.Body), "version") {
			t.Errorf("version %s got %d", version, answer.Code)
		}
	}
}

func TestEveryReplyHasARequestIDOfItsOwn(t *testing.T) {
	d, seen := newDoor(t, nil), map[string]bool{}
	for range 50 {
		id := d.ask("GET", "/healthz", "", "X-Request-Id", "mine").Header().Get("X-Request-Id")
		if len(id) != 32 || seen[id] {
			t.Fatalf("request id %q", id)
		}
		seen[id] = true
	}
}

func TestTheCallersRequestIDIsLoggedWithoutWhatCouldForgeALine(t *testing.T) {
	d := newDoor(t, nil)
	d.ask("GET", "/v1/models/digits", "", "X-Request-Id", "a-b_c.1:2/3\n\x00\"\u00e9\\<> "+strings.Repeat("x", 200))
	found, _ := d.last(t)["client_request_id"].(string)
	if !strings.HasPrefix(found, "a-b_c.1:2/3xxx") || len(found) != telemetry.LongestClientID {
		t.Errorf("the log has %q", found)
	}
	d.ask("GET", "/v1/models/digits", "")
	if _, there := d.last(t)["client_request_id"]; there {
		t.Error("the log has a request id that nobody sent")
	}
}

func TestAccessLogOffWritesNoLineForACall(t *testing.T) {
	d := newDoor(t, func(deps *Deps) { deps.Settings.AccessLog = false })
	d.ask("GET", "/v1/models/digits", "")
	d.ask("GET", "/nowhere", "")
	if len(d.log.requests(t)) != 0 {
		t.Error("calls are logged")
	}
	if !strings.Contains(d.scraped(), `accelform_requests_total{code="OK",method="GetModelStatus",protocol="http"} 1`) {
		t.Error("calls are not counted")
	}
}

func TestNoPanicReachesACaller(t *testing.T) {
	d := newDoor(t, func(deps *Deps) {
		deps.Score = func(context.Context, RestCall) ([]byte, [][2]string, *refusal.Refusal) { panic("secret") }
		deps.Ready = func() bool { panic("secret") }
	})
	for _, request := range [][2]string{{"POST", "/v1/models/digits:predict"}, {"GET", "/readyz"}} {
		answer := d.ask(request[0], request[1], "{}")
		expectStatus(t, answer, http.StatusInternalServerError)
		if said := errorText(t, answer.Body); strings.Contains(said, "secret") {
			t.Errorf("the error says %q", said)
		}
		line := d.last(t)
		if line["detail"] != "panic: secret" || line["code"] != "INTERNAL" ||
			!strings.Contains(line["stack"].(string), "doors_test.go") {
			t.Errorf("the log says %v", line)
		}
	}
}
