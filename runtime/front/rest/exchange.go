package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"accelform/front/refusal"
	"accelform/front/security"
	"accelform/front/settings"
	"accelform/front/telemetry"
)

// exchange is one request and what becomes of it.
type exchange struct {
	*handler
	writer  *watched
	request *http.Request
	id      string
	arrived time.Time
	call    telemetry.Call
	logged  []any
	refused *refusal.Refusal
	place   *security.Place // nil: the caller is not let in, or there is no table
	// quiet requests are neither logged nor counted: probes and scrapes would drown everything else.
	quiet bool
}

func begin(h *handler, w http.ResponseWriter, r *http.Request) *exchange {
	e := &exchange{
		handler: h,
		writer:  &watched{ResponseWriter: w},
		request: r,
		id:      telemetry.NewRequestID(),
		arrived: time.Now(),
		call:    telemetry.Call{Protocol: telemetry.HTTP, Method: telemetry.Other, Code: "OK"},
	}
	w.Header().Set("X-Request-Id", e.id)
	return e
}

// end leaves the request's trace in log and metrics, and keeps a panic of ours from the caller.
func (e *exchange) end() {
	if panicked := recover(); panicked != nil {
		e.panicked(panicked)
	}
	if e.quiet {
		return
	}
	if e.call.Took == 0 {
		e.call.Took = time.Since(e.arrived)
	}
	e.deps.Metrics.Observe(e.call)
	if e.deps.Settings.AccessLog || e.call.Code == telemetry.CodeName(codes.Internal) {
		e.deps.Log.Write("request", e.line()...)
	}
}

func (e *exchange) panicked(with any) {
	e.quiet = false
	e.logged = append(e.logged, "stack", string(debug.Stack()))
	failed := refusal.Internal(fmt.Sprintf("panic: %v", with))
	if e.writer.begun {
		// Half a reply is on its way: only an end of the connection tells the caller that it is not whole.
		e.refused, e.call.Code = failed, telemetry.CodeName(failed.Code)
		if connection, _, err := http.NewResponseController(e.writer).Hijack(); err == nil {
			_ = connection.Close()
		}
		return
	}
	e.refuse(problem{refusal: failed})
}

func (e *exchange) line() []any {
	fields := []any{
		"request_id", e.id, "code", e.call.Code, "ms", telemetry.Milliseconds(e.call.Took),
		"protocol", telemetry.HTTP, "method", e.call.Method,
	}
	if theirs := telemetry.ClientID(e.request.Header.Values("X-Request-Id")); theirs != "" {
		fields = append(fields, "client_request_id", theirs)
	}
	fields = append(fields, e.logged...)
	if e.refused != nil {
		detail := e.refused.Detail
		if detail == "" {
			detail = e.refused.Message
		}
		fields = append(fields, "detail", detail)
	}
	return fields
}

// allowed answers requests whose verb the route does not know.
func (e *exchange) allowed(verbs string) bool {
	verb := e.request.Method
	for allowed := range strings.SplitSeq(verbs, ", ") {
		if verb == allowed {
			return true
		}
	}
	e.writer.Header().Set("Allow", verbs)
	e.refuse(problem{status: http.StatusMethodNotAllowed, refusal: refusal.New(
		codes.Unimplemented, "this path does not take the request's method; it takes %s", verbs,
	)})
	return false
}

// refuse answers with an error.
func (e *exchange) refuse(p problem) {
	e.refused = p.refusal
	e.call.Code = telemetry.CodeName(p.refusal.Code)
	p.describe(e.writer.Header())
	e.pace()
	body, err := json.Marshal(map[string]string{"error": p.refusal.Message})
	if err != nil {
		body = []byte(`{"error": "the service failed on this call"}`)
	}
	e.reply(p.httpStatus(), append(body, '\n'))
}

// pace keeps back a refusal's answer where the address has had many: work that does nobody any good leaves the
// processors to the model.
func (e *exchange) pace() {
	if e.quiet || e.refused.Code == codes.Unavailable {
		return
	}
	bytes := 0
	if e.refused.RetryAfter == 0 {
		bytes = int(max(0, e.request.ContentLength))
	}
	account := e.deps.Ledger.Join(remote(e.request))
	defer account.Leave()
	select {
	case <-time.After(account.Useless(bytes)):
	case <-e.request.Context().Done():
	}
}

// reply writes the answer. A caller that does not read it is cut off as one that does not write its request.
func (e *exchange) reply(status int, body []byte) {
	e.call.Took = time.Since(e.arrived)
	e.call.ReplyBytes = len(body)
	header := e.writer.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	e.harden()
	e.writer.WriteHeader(status)
	_, _ = e.writer.Write(body)
}

func (e *exchange) harden() {
	header := e.writer.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	patience := settings.Seconds(e.deps.Settings.ReceiveTimeoutSeconds)
	_ = http.NewResponseController(e.writer).SetWriteDeadline(time.Now().Add(patience))
}

// watched knows whether the answer has begun.
type watched struct {
	http.ResponseWriter
	begun bool
}

func (w *watched) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(body []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(body)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }
