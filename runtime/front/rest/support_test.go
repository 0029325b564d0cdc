package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"accelform/front/intake"
	"accelform/front/refusal"
	"accelform/front/settings"
	"accelform/front/telemetry"
	"accelform/front/wire"
)

const key = "Bearer primary-key"

// lines is a log that may be read while it is written.
type lines struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(text []byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.text.Write(text)
}

func (l *lines) requests(t testing.TB) []map[string]any {
	t.Helper()
	l.lock.Lock()
	defer l.lock.Unlock()
	var found []map[string]any
	for line := range strings.Lines(l.text.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("log line %q is not JSON: %v", line, err)
		}
		if fields["event"] == "request" {
			found = append(found, fields)
		}
	}
	return found
}

// door is a side door whose service is made of functions that a test may replace.
type door struct {
	http.Handler
	deps  Deps
	log   *lines
	calls []RestCall
}

func newDoor(t testing.TB, change func(*Deps)) *door {
	t.Helper()
	d := &door{log: &lines{}}
	s := &settings.Settings{Service: settings.Service{
		Name: "digits-service", HTTPEnabled: true, ReplicaMaxConcurrentRequests: 17, MaxRequestBytes: 1000, AccessLog: true,
		HandshakeTimeoutSeconds: 10, ReceiveTimeoutSeconds: 30, ScoringTimeoutMs: 60000,
	}}
	d.deps = Deps{
		Settings: s,
		Ledger:   intake.NewLedger(4 << 20),
		Log:      telemetry.NewLog(d.log),
		Metrics:  telemetry.NewMetrics(s),
		Admit: func(authorization string) *refusal.Refusal {
			if authorization == key {
				return nil
			}
			return refusal.New(codes.Unauthenticated, "the call needs a key")
		},
		Ready:    func() bool { return true },
		Live:     func() bool { return true },
		Status:   statusOfDigits,
		Metadata: metadataOfDigits,
		Score: func(_ context.Context, call RestCall) ([]byte, [][2]string, *refusal.Refusal) {
			d.calls = append(d.calls, call)
			return []byte(`{"predictions": [1]}`), nil, nil
		},
	}
	if change != nil {
		change(&d.deps)
	}
	d.Handler = New(d.deps)
	return d
}

// ask sends a request with the right key; headers alternate names and values.
func (d *door) ask(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	request.Header.Set("Authorization", key)
	for at := 0; at < len(headers); at += 2 {
		request.Header.Set(headers[at], headers[at+1])
	}
	recorder := httptest.NewRecorder()
	d.ServeHTTP(recorder, request)
	return recorder
}

func (d *door) last(t testing.TB) map[string]any {
	t.Helper()
	d.deps.Log.Flush()
	all := d.log.requests(t)
	if len(all) == 0 {
		t.Fatal("no request is in the log")
	}
	return all[len(all)-1]
}

func (d *door) scraped() string {
	recorder := httptest.NewRecorder()
	d.deps.Metrics.Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/", nil))
	return recorder.Body.String()
}

func expectStatus(t testing.TB, answer *httptest.ResponseRecorder, status int) {
	t.Helper()
	if answer.Code != status {
		t.Errorf("status %d, not %d: %s", answer.Code, status, answer.Body)
	}
}

func errorText(t testing.TB, body io.Reader) string {
	t.Helper()
	var said map[string]string
	if err := json.NewDecoder(body).Decode(&said); err != nil || len(said) != 1 {
		t.Fatalf("the error is not one JSON object with one key: %v %v", said, err)
	}
	return said["error"]
}

func statusOfDigits(spec *wire.ModelSpec) (*wire.GetModelStatusResponse, *refusal.Refusal) {
	if name := spec.GetName(); name != "" && name != "digits" {
		return nil, refusal.New(codes.NotFound, "Servable not found for request: %s", name)
	}
	return &wire.GetModelStatusResponse{ModelVersionStatus: []*wire.ModelVersionStatus{
		{Version: 3, State: wire.ModelVersionStatus_AVAILABLE, Status: &wire.StatusProto{}},
	}}, nil
}

func metadataOfDigits(spec *wire.ModelSpec) (*wire.GetModelMetadataResponse, *refusal.Refusal) {
	signature := &wire.SignatureDef{
		Inputs: map[string]*wire.TensorInfo{"images": {
			Encoding: &wire.TensorInfo_Name{Name: "Placeholder:0"}, Dtype: wire.DataType_DT_STRING,
			TensorShape: &wire.TensorShapeProto{Dim: []*wire.TensorShapeProto_Dim{{Size: -1}}},
		}},
		MethodName: "tensorflow/serving/predict",
	}
	packed, err := anypb.New(&wire.SignatureDefMap{
		SignatureDef: map[string]*wire.SignatureDef{"serving_default": signature},
	})
	if err != nil {
		return nil, refusal.Internal(err.Error())
	}
	answered := proto.Clone(spec).(*wire.ModelSpec)
	answered.VersionChoice = &wire.ModelSpec_Version{Version: wrapperspb.Int64(3)}
	return &wire.GetModelMetadataResponse{
		ModelSpec: answered, Metadata: map[string]*anypb.Any{"signature_def": packed},
	}, nil
}

func eventually(t *testing.T, what string, look func() bool) {
	t.Helper()
	for ends := time.Now().Add(10 * time.Second); !look(); time.Sleep(time.Millisecond) {
		if time.Now().After(ends) {
			t.Fatalf("waited 10 s for %s", what)
		}
	}
}
