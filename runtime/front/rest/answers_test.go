package rest

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"accelform/front/refusal"
	"accelform/front/wire"
)

func expectJSON(t *testing.T, answer *httptest.ResponseRecorder, wanted string) {
	t.Helper()
	expectStatus(t, answer, 200)
	if kind := answer.Header().Get("Content-Type"); kind != "application/json" {
		t.Errorf("the answer is called %s", kind)
	}
	var found, meant any
	if err := json.Unmarshal(answer.Body.Bytes(), &found); err != nil {
		t.Fatalf("%q is not JSON: %v", answer.Body, err)
	}
	if err := json.Unmarshal([]byte(wanted), &meant); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(found, meant) {
		t.Errorf("the answer is %s", answer.Body)
	}
}

const availableJSON = `{"model_version_status": [
	{"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
]}`

func TestTheStatusHasTensorflowServingsForm(t *testing.T) {
	for _, path := range []string{
		"/v1/models", "/v1/models/digits", "/v1/models/digits/versions/3", "/v1/models/digits/labels/stable",
	} {
		expectJSON(t, newDoor(t, nil).ask("GET", path, ""), availableJSON)
	}
}

func TestTheStatusOfAnUnknownModelIs404(t *testing.T) {
	d := newDoor(t, nil)
	answer := d.ask("GET", "/v1/models/letters", "")
	expectStatus(t, answer, 404)
	if said := errorText(t, answer.Body); said != "Servable not found for request: letters" {
		t.Errorf("the error says %q", said)
	}
	if line := d.last(t); line["method"] != "GetModelStatus" || line["code"] != "NOT_FOUND" {
		t.Errorf("the log says %v", line)
	}
}

func TestThePathsVersionOrLabelIsAskedFor(t *testing.T) {
	var asked *wire.ModelSpec
	d := newDoor(t, func(deps *Deps) {
		deps.Status = func(spec *wire.ModelSpec) (*wire.GetModelStatusResponse, *refusal.Refusal) {
			asked = spec
			return statusOfDigits(&wire.ModelSpec{})
		}
	})
	d.ask("GET", "/v1/models/a%2Fb%3Ac/versions/12", "")
	if asked.GetName() != "a/b:c" || asked.GetVersion().GetValue() != 12 {
		t.Errorf("the service was asked for %v", asked)
	}
	d.ask("GET", "/v1/models/digits/labels/sta%20ble", "")
	if asked.GetName() != "digits" || asked.GetVersionLabel() != "sta ble" || asked.GetVersion() != nil {
		t.Errorf("the service was asked for %v", asked)
	}
}

func TestTheMetadataHasTensorflowServingsForm(t *testing.T) {
	for _, path := range []string{"/v1/models/digits/metadata", "/v1/models/digits/versions/3/metadata"} {
		expectJSON(t, newDoor(t, nil).ask("GET", path, ""), `{
			"model_spec": {"name": "digits", "version": "3", "signature_name": ""},
			"metadata": {"signature_def": {"signature_def": {"serving_default": {
				"inputs": {"images": {
					"name": "Placeholder:0", "dtype": "DT_STRING",
					"tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": false}
				}},
				"outputs": {},
				"method_name": "tensorflow/serving/predict"
			}}}}
		}`)
	}
}

func TestMetadataWithoutSignaturesIsOurFault(t *testing.T) {
	d := newDoor(t, func(deps *Deps) {
		deps.Metadata = func(*wire.ModelSpec) (*wire.GetModelMetadataResponse, *refusal.Refusal) {
			return &wire.GetModelMetadataResponse{}, nil
		}
	})
	expectStatus(t, d.ask("GET", "/v1/models/digits/metadata", ""), 500)
}

func TestAQuestionReachesTheModelAsItCame(t *testing.T) {
	for _, verb := range []string{"predict", "classify", "regress"} {
		d := newDoor(t, nil)
		answer := d.ask("POST", "/v1/models/digits/versions/3:"+verb, `{"instances": [1]}`,
			"X-Accelform-Exactness", "certificate")
		expectStatus(t, answer, 200)
		if answer.Body.String() != `{"predictions": [1]}` {
			t.Errorf("the answer is %s", answer.Body)
		}
		call := d.calls[0]
		if call.Method != "rest."+verb || call.Spec.Name != "digits" || *call.Spec.Version != 3 ||
			call.Spec.Label != nil || string(call.Body) != `{"instances": [1]}` || !call.Certified ||
			call.RequestID != answer.Header().Get("X-Request-Id") || call.Arrived.IsZero() {
			t.Errorf("the model was asked %+v", call)
		}
	}
}

func TestAnotherKindOfExactnessIsRefused(t *testing.T) {
	d := newDoor(t, nil)
	expectStatus(t, d.ask("POST", "/v1/models/digits:predict", "{}", "X-Accelform-Exactness", "perhaps"), 400)
	expectStatus(t, d.ask("POST", "/v1/models/digits:predict", "{}"), 200)
	if len(d.calls) != 1 || d.calls[0].Certified {
		t.Errorf("the model was asked %+v", d.calls)
	}
}

func TestWhatGRPCHasAsTrailingMetadataAreHeaders(t *testing.T) {
	d := newDoor(t, func(deps *Deps) {
		deps.Score = func(_ context.Context, call RestCall) ([]byte, [][2]string, *refusal.Refusal) {
			call.Seen.Images, call.Seen.ModelledLatencyMs = 2, 1.78
			*call.Logged = append(*call.Logged, "fpga_ms", 1.78)
			return []byte("{}"), [][2]string{{"x-accelform-fpga-latency-ms", "1.78"}, {"x-accelform-engine", "native"}}, nil
		}
	})
	answer := d.ask("POST", "/v1/models/digits:predict", "{}")
	if answer.Header().Get("X-Accelform-Fpga-Latency-Ms") != "1.78" ||
		answer.Header().Get("X-Accelform-Engine") != "native" || answer.Header().Get("X-Accelform-Measured-Ms") == "" {
		t.Errorf("the headers are %v", answer.Header())
	}
	line := d.last(t)
	if line["fpga_ms"] != 1.78 || line["code"] != "OK" || line["protocol"] != "http" || line["method"] != "Predict" ||
		line["request_id"] != answer.Header().Get("X-Request-Id") || line["ms"] == nil || line["detail"] != nil {
		t.Errorf("the log says %v", line)
	}
	for _, series := range []string{
		`accelform_requests_total{code="OK",method="Predict",protocol="http"} 1`, "accelform_images_total 2",
		"accelform_fpga_modelled_latency_seconds_count 1", `accelform_request_bytes_total{protocol="http"} 2`,
		`accelform_reply_bytes_total{protocol="http"} 2`,
	} {
		if !strings.Contains(d.scraped(), series+"\n") {
			t.Errorf("the metrics have no %s", series)
		}
	}
}

func TestEveryCodeHasTensorflowServingsHTTPStatus(t *testing.T) {
	for code, status := range map[codes.Code]int{
		codes.Canceled: 499, codes.Unknown: 500, codes.InvalidArgument: 400, codes.DeadlineExceeded: 504,
		codes.NotFound: 404, codes.AlreadyExists: 409, codes.PermissionDenied: 403, codes.ResourceExhausted: 429,
		codes.FailedPrecondition: 400, codes.Aborted: 409, codes.OutOfRange: 400, codes.Unimplemented: 501,
		codes.Internal: 500, codes.Unavailable: 503, codes.DataLoss: 500, codes.Unauthenticated: 401, codes.Code(99): 500,
	} {
		d := newDoor(t, func(deps *Deps) {
			deps.Score = func(context.Context, RestCall) ([]byte, [][2]string, *refusal.Refusal) {
				return nil, nil, refusal.New(code, `it "failed"`)
			}
		})
		answer := d.ask("POST", "/v1/models/digits:predict", "{}")
		if answer.Code != status {
			t.Errorf("code %s became %d, not %d", code, answer.Code, status)
		}
		if said := errorText(t, answer.Body); said != `it "failed"` {
			t.Errorf("the error says %q", said)
		}
		if has := answer.Header().Get("Retry-After") != ""; has != (status == 429) {
			t.Errorf("code %s: Retry-After is %q", code, answer.Header().Get("Retry-After"))
		}
		if has := answer.Header().Get("WWW-Authenticate") == "Bearer"; has != (status == 401) {
			t.Errorf("code %s: WWW-Authenticate is %q", code, answer.Header().Get("WWW-Authenticate"))
		}
	}
}

func TestAnInternalDetailStaysInTheLog(t *testing.T) {
	d := newDoor(t, func(deps *Deps) {
		deps.Settings.AccessLog = false
		deps.Score = func(context.Context, RestCall) ([]byte, [][2]string, *refusal.Refusal) {
			return nil, nil, refusal.Internal("the disk at /secret is full")
		}
	})
	answer := d.ask("POST", "/v1/models/digits:predict", "{}")
	expectStatus(t, answer, 500)
	if said := errorText(t, answer.Body); strings.Contains(said, "secret") {
		t.Errorf("the error says %q", said)
	}
	if line := d.last(t); line["detail"] != "the disk at /secret is full" {
		t.Errorf("the log says %v", line)
	}
}

func TestARefusalsOwnTimeToRetryIsTold(t *testing.T) {
	d := newDoor(t, func(deps *Deps) {
		deps.Score = func(context.Context, RestCall) ([]byte, [][2]string, *refusal.Refusal) {
			refused := refusal.New(codes.Unavailable, "the model is still loading")
			refused.RetryAfter = 2500 * 1e6
			return nil, nil, refused
		}
	})
	if after := d.ask("POST", "/v1/models/digits:predict", "{}").Header().Get("Retry-After"); after != "3" {
		t.Errorf("Retry-After is %q", after)
	}
}
