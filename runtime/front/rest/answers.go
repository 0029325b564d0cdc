package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"accelform/front/intake"
	"accelform/front/refusal"
	"accelform/front/security"
	"accelform/front/wire"
)

const signatures = "signature_def"

// TensorFlow Serving's form: the proto's own names, and fields that are empty too.
var asJSON = protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}

func (e *exchange) probe(which kind) {
	e.quiet = true
	if !e.allowed(which.verbs()) {
		return
	}
	good, word := e.deps.Live(), "alive"
	if which == routeReady {
		good, word = e.deps.Ready(), "serving"
	}
	if good {
		e.reply(http.StatusOK, []byte(`{"status": "`+word+`"}`+"\n"))
	} else {
		e.reply(http.StatusServiceUnavailable, []byte(`{"status": "not `+word+`"}`+"\n"))
	}
}

func (e *exchange) metrics() {
	e.quiet = true
	if !e.allowed(routeMetrics.verbs()) {
		return
	}
	e.harden()
	e.page.ServeHTTP(e.writer, e.request)
}

func (e *exchange) status(spec Spec) {
	e.told("GetModelStatus", func() ([]byte, *refusal.Refusal) {
		found, refused := e.deps.Status(spec.wire())
		if refused != nil {
			return nil, refused
		}
		return inJSON(found)
	})
}

func (e *exchange) metadata(spec Spec) {
	e.told("GetModelMetadata", func() ([]byte, *refusal.Refusal) {
		found, refused := e.deps.Metadata(spec.wire())
		if refused != nil {
			return nil, refused
		}
		return metadataJSON(found)
	})
}

// told answers with what is known without the model.
func (e *exchange) told(rpc string, tell func() ([]byte, *refusal.Refusal)) {
	e.call.Method = rpc
	_, finish := e.span(rpc)
	body, refused := tell()
	finish(asError(refused))
	if refused != nil {
		e.refuse(problem{refusal: refused})
		return
	}
	var readable bytes.Buffer
	if err := json.Indent(&readable, body, "", "  "); err != nil {
		e.refuse(problem{refusal: refusal.Internal(err.Error())})
		return
	}
	readable.WriteByte('\n')
	e.reply(http.StatusOK, readable.Bytes())
}

func inJSON(message proto.Message) ([]byte, *refusal.Refusal) {
	text, err := asJSON.Marshal(message)
	if err != nil {
		name := string(message.ProtoReflect().Descriptor().Name())
		return nil, refusal.Internal("cannot write " + name + " as JSON: " + err.Error())
	}
	return text, nil
}

// metadataJSON takes the signatures out of the Any that gRPC has around them, as TensorFlow Serving does.
func metadataJSON(found *wire.GetModelMetadataResponse) ([]byte, *refusal.Refusal) {
	packed := found.GetMetadata()[signatures]
	if packed == nil {
		return nil, refusal.Internal("the model's metadata has no " + signatures)
	}
	var unpacked wire.SignatureDefMap
	if err := packed.UnmarshalTo(&unpacked); err != nil {
		return nil, refusal.Internal("cannot read the model's " + signatures + ": " + err.Error())
	}
	spec, refused := inJSON(found.GetModelSpec())
	if refused != nil {
		return nil, refused
	}
	signed, refused := inJSON(&unpacked)
	if refused != nil {
		return nil, refused
	}
	text, err := json.Marshal(map[string]any{
		"model_spec": json.RawMessage(spec),
		"metadata":   map[string]json.RawMessage{signatures: signed},
	})
	if err != nil {
		return nil, refusal.Internal("cannot write the model's metadata: " + err.Error())
	}
	return text, nil
}

func (e *exchange) infer(found route) {
	e.call.Method = found.rpc
	ctx, finish := e.span(found.rpc)
	account := e.deps.Ledger.Join(remote(e.request))
	defer account.Leave()
	part := account.Share()
	defer part.Free()
	body, trailing, failed := e.score(ctx, found, &part)
	if failed != nil {
		finish(failed.refusal)
		e.refuse(*failed)
		return
	}
	finish(nil)
	for _, pair := range trailing {
		e.writer.Header().Set(pair[0], pair[1])
	}
	e.writer.Header().Set(measuredHeader, measured(e.arrived))
	e.reply(http.StatusOK, body)
}

func (e *exchange) score(ctx context.Context, found route, part *intake.Share) ([]byte, [][2]string, *problem) {
	patience, failed := timeout(e.request.Header)
	if failed != nil {
		return nil, nil, failed
	}
	exactly, failed := certified(e.request.Header)
	if failed != nil {
		return nil, nil, failed
	}
	if patience > 0 {
		bounded, cancel := context.WithDeadline(ctx, e.arrived.Add(patience))
		defer cancel()
		ctx = bounded
	}
	body, failed := e.body(part)
	if failed != nil {
		return nil, nil, failed
	}
	e.call.RequestBytes = len(body)
	if ctx.Err() == context.DeadlineExceeded {
		return nil, nil, &problem{refusal: refusal.New(
			codes.DeadlineExceeded,
			"the call's time was over before its request had arrived; give it more with %s", timeoutHeader,
		)}
	}
	part.Free() // the line of calls has its own bound
	reply, trailing, refused := e.deps.Score(ctx, RestCall{
		Method:    "rest." + found.verb,
		Spec:      found.spec,
		Body:      body,
		RequestID: e.id,
		From:      security.Neighbourhood(remote(e.request)),
		Arrived:   e.arrived,
		Certified: exactly,
		Seen:      &e.call,
		Logged:    &e.logged,
	})
	if refused != nil {
		return nil, nil, &problem{refusal: refused}
	}
	return reply, trailing, nil
}

func (e *exchange) span(rpc string) (context.Context, func(error)) {
	return e.deps.Traces.ServerSpan(
		e.request.Context(), e.request.Header, "http "+rpc,
		attribute.String("http.request.method", e.request.Method), attribute.String("accelform.request_id", e.id),
	)
}

// asError keeps a nil refusal from becoming an error that is not nil.
func asError(refused *refusal.Refusal) error {
	if refused == nil {
		return nil
	}
	return refused
}
