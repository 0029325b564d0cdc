// Package rest is the HTTP side door: TensorFlow Serving's REST API, health for probes, and metrics.
//
//	GET  /healthz, /readyz                                   no key needed
//	GET  /metrics, /monitoring/prometheus/metrics            no key needed when metrics_open
//	GET  /v1/models[/NAME[/versions/N|/labels/LABEL]]        status of the model
//	GET  /v1/models/NAME[/versions/N|/labels/LABEL]/metadata
//	POST /v1/models/NAME[/versions/N|/labels/LABEL]:predict  also :classify and :regress
//
// Headers of a request: Authorization; Content-Encoding (gzip or identity); X-Timeout-Ms, the milliseconds after which
// the caller waits no longer; X-Accelform-Exactness as in gRPC's metadata; X-Request-Id and traceparent for logs and
// traces. Every reply has X-Request-Id, an answer of the model has gRPC's trailing metadata as headers, and every error
// is {"error": "..."}.
package rest

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"accelform/front/intake"
	"accelform/front/refusal"
	"accelform/front/security"
	"accelform/front/settings"
	"accelform/front/telemetry"
	"accelform/front/wire"
)

// Deps is what the side door needs of the service.
type Deps struct {
	Settings *settings.Settings
	// Ledger counts the bodies that are not admitted yet.
	Ledger  *intake.Ledger
	Log     *telemetry.Log
	Metrics *telemetry.Metrics
	// Traces may be nil.
	Traces *telemetry.Traces
	// Admit judges the value of the header Authorization, empty if there is none; nil lets everybody in.
	Admit func(authorization string) *refusal.Refusal
	// Ready is whether calls are taken, Live whether the process is worth keeping.
	Ready, Live func() bool
	Status      func(spec *wire.ModelSpec) (*wire.GetModelStatusResponse, *refusal.Refusal)
	Metadata    func(spec *wire.ModelSpec) (*wire.GetModelMetadataResponse, *refusal.Refusal)
	// Score has the model answer a JSON request. The context ends with the caller's patience or presence; what is
	// trailing metadata in gRPC becomes headers.
	Score func(ctx context.Context, call RestCall) (body []byte, trailing [][2]string, err *refusal.Refusal)
}

// RestCall is one question to the model.
type RestCall struct {
	// Method is rest.predict, rest.classify or rest.regress.
	Method string
	Spec   Spec
	// Body is the JSON text as it came, at most max_request_bytes of it, already inflated.
	Body []byte
	// RequestID is what the reply and the log call this request.
	RequestID string
	// From is whom the request counts for when turns are shared out.
	From netip.Prefix
	// Arrived is when the request's headers were there.
	Arrived time.Time
	// Certified is whether the caller asks for an answer known to equal the definition.
	Certified bool
	// Seen takes what only Score knows for the metrics: Queued, Images and the modelled times. It and Logged are to
	// be left alone once Score has returned.
	Seen *telemetry.Call
	// Logged takes more fields for the request's log line, as alternating names and values.
	Logged *[]any
}

// Spec is the model that a path names.
type Spec struct {
	Name    string
	Version *int64
	Label   *string
}

type handler struct {
	deps Deps
	page http.Handler
}

// New makes the side door's handler.
func New(deps Deps) http.Handler {
	return &handler{deps: deps, page: deps.Metrics.Handler()}
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := begin(h, w, r)
	defer e.drop()
	defer e.leave()
	defer e.end()
	e.answer()
}

func (e *exchange) answer() {
	found, unusable := find(e.request.URL.EscapedPath())
	switch found.kind {
	case routeAlive, routeReady:
		e.probe(found.kind)
		return
	case routeMetrics:
		if e.deps.Settings.MetricsOpen {
			e.metrics()
			return
		}
	}
	if e.deps.Admit != nil {
		if refused := e.deps.Admit(security.Authorization(e.request.Header.Values("Authorization"))); refused != nil {
			e.refuse(problem{refusal: refused})
			return
		}
	}
	e.enter()
	switch {
	case unusable != nil:
		e.refuse(*unusable)
	case found.kind == routeMetrics:
		e.metrics()
	case !e.allowed(found.kind.verbs()):
	case found.kind == routeStatus:
		e.status(found.spec)
	case found.kind == routeMetadata:
		e.metadata(found.spec)
	case found.kind == routeInference:
		e.infer(found)
	}
}
