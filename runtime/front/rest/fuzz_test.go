package rest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"accelform/front/telemetry"
)

// path writes a route the way it can be asked for.
func path(found route) string {
	text := models
	if found.spec.Name != "" {
		text += "/" + escaped(found.spec.Name)
	}
	if found.spec.Version != nil {
		text += "/versions/" + strconv.FormatInt(*found.spec.Version, 10)
	}
	if found.spec.Label != nil {
		text += "/labels/" + escaped(*found.spec.Label)
	}
	switch found.kind {
	case routeMetadata:
		text += "/metadata"
	case routeInference:
		text += ":" + found.verb
	}
	return text
}

func escaped(text string) string { return strings.ReplaceAll(url.PathEscape(text), ":", "%3A") }

// FuzzFind holds that a path is either nothing or says one thing, whoever writes it.
func FuzzFind(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		found, unusable := find(text)
		if unusable != nil {
			if found.kind != routeNowhere || unusable.refusal == nil || unusable.httpStatus() < 400 {
				t.Fatalf("%q is both refused and found: %+v %+v", text, found, unusable)
			}
			return
		}
		if found.kind < routeStatus {
			return
		}
		if !utf8.ValidString(found.spec.Name) || (found.spec.Version != nil && found.spec.Label != nil) ||
			(found.kind != routeStatus && found.spec.Name == "") || found.rpc == "" {
			t.Fatalf("%q became %+v", text, found)
		}
		again, unusable := find(path(found))
		if unusable != nil || path(again) != path(found) || again.kind != found.kind || again.spec.Name != found.spec.Name {
			t.Fatalf("%q became %+v and its own path %q became %+v", text, found, path(found), again)
		}
	})
}

// FuzzRequest holds that whatever is sent gets one answer with a request id, that an error is JSON with a text, that
// nothing is a failure of ours, and that no line of the log can be forged.
func FuzzRequest(f *testing.F) {
	f.Fuzz(func(t *testing.T, method, target, shown, id, encoding, patience string, body []byte) {
		d := newDoor(t, nil)
		request := httptest.NewRequest("GET", "/", strings.NewReader(string(body)))
		parsed, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		request.Method, request.URL = method, parsed
		request.Header = http.Header{}
		for name, value := range map[string]string{
			"Authorization": shown, "X-Request-Id": id, "Content-Encoding": encoding, timeoutHeader: patience,
		} {
			if value != "" {
				request.Header.Set(name, value)
			}
		}
		recorder := httptest.NewRecorder()
		d.ServeHTTP(recorder, request)
		if len(recorder.Header().Get("X-Request-Id")) != 32 {
			t.Fatal("the answer has no request id")
		}
		if recorder.Code >= 500 {
			t.Fatalf("we failed with %d: %s", recorder.Code, recorder.Body)
		}
		if shown != key && recorder.Code < 400 && parsed.Path != "/healthz" && parsed.Path != "/readyz" {
			t.Fatalf("%s %s was answered without a key: %d", method, target, recorder.Code)
		}
		if recorder.Code >= 400 {
			if said := errorText(t, recorder.Body); said == "" {
				t.Fatal("the error says nothing")
			}
		}
		for _, call := range d.calls {
			if len(call.Body) > d.deps.Settings.MaxRequestBytes || shown != key {
				t.Fatalf("the model was asked %+v", call)
			}
		}
		if lines := d.log.requests(t); len(lines) > 1 {
			t.Fatalf("one request has %d lines in the log", len(lines))
		}
	})
}

// FuzzHeaders holds what is kept of a caller's headers to its bounds.
func FuzzHeaders(f *testing.F) {
	f.Fuzz(func(t *testing.T, value string) {
		headers := http.Header{"X-Request-Id": {value}, timeoutHeader: {value}}
		id := telemetry.ClientID(headers["X-Request-Id"])
		if text, err := json.Marshal(id); err != nil || len(text) != len(id)+2 || len(id) > telemetry.LongestClientID {
			t.Fatalf("%q is kept as %q", value, id)
		}
		wait, failed := timeout(headers)
		if (failed == nil) == (wait <= 0) || wait > longestTimeout {
			t.Fatalf("%q is a timeout of %s", value, wait)
		}
	})
}
