package telemetry

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"accelform/front/refusal"
	"accelform/front/settings"
)

func TestWithoutACollectorTracesDoNothing(t *testing.T) {
	for _, made := range []*Traces{nil, traces(t, &settings.Settings{})} {
		ctx, finish := made.Span(t.Context(), "work")
		finish(nil)
		if ctx != t.Context() || made.Enabled() || made.ServerOptions() != nil {
			t.Error("traces without a collector are not inert")
		}
		made.ReportTo(NewLog(&bytes.Buffer{}))
		made.Close(t.Context())
	}
}

func TestSpansReachTheCollectorWithTheServicesNameBelowTheCallers(t *testing.T) {
	kept, s := collecting(t)
	made := traces(t, s)
	headers := http.Header{"Traceparent": {"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"}}
	ctx, finish := made.ServerSpan(t.Context(), headers, "http Predict")
	_, inner := made.Span(ctx, "queue")
	inner(nil)
	finish(refusal.New(codes.ResourceExhausted, "the queue is full"))
	made.Close(t.Context())

	spans := kept.spans()
	outer, below := spans["http Predict"], spans["queue"]
	if outer == nil || below == nil {
		t.Fatalf("the collector got %v", spans)
	}
	if string(below.GetParentSpanId()) != string(outer.GetSpanId()) || len(outer.GetParentSpanId()) != 8 ||
		outer.GetTraceId()[0] != 0x01 || outer.GetTraceId()[15] != 0xef {
		t.Error("the spans do not hang together")
	}
	if outer.GetStatus().GetCode() != otlp.Status_STATUS_CODE_ERROR ||
		valueOf(outer.GetAttributes(), "error.type") != "RESOURCE_EXHAUSTED" ||
		!strings.Contains(outer.GetStatus().GetMessage(), "the queue is full") {
		t.Errorf("the refusal is not in its span: %v", outer)
	}
	if below.GetStatus().GetCode() != otlp.Status_STATUS_CODE_UNSET {
		t.Error("a span without an error has one")
	}
	about := kept.got[0].GetResource().GetAttributes()
	if valueOf(about, "service.name") != "digits-service" || valueOf(about, "service.version") != "1.2.3" {
		t.Errorf("the resource is %v", about)
	}
}

func TestTheEnvironmentNamesTheServiceOtherwise(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "renamed")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	kept, s := collecting(t)
	made := traces(t, s)
	_, finish := made.Span(t.Context(), "work")
	finish(nil)
	made.Close(t.Context())
	about := kept.got[0].GetResource().GetAttributes()
	if valueOf(about, "service.name") != "renamed" || valueOf(about, "deployment.environment.name") != "test" {
		t.Errorf("the resource is %v", about)
	}
}

func TestTheEnvironmentMayTurnSamplingOff(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	kept, s := collecting(t)
	made := traces(t, s)
	_, finish := made.Span(t.Context(), "work")
	finish(nil)
	made.Close(t.Context())
	if spans := kept.spans(); len(spans) != 0 {
		t.Errorf("the collector got %v", spans)
	}
}

func TestANilRefusalIsNoError(t *testing.T) {
	kept, s := collecting(t)
	made := traces(t, s)
	_, finish := made.Span(t.Context(), "work")
	var refused *refusal.Refusal
	finish(refused)
	made.Close(t.Context())
	if kept.spans()["work"].GetStatus().GetCode() != otlp.Status_STATUS_CODE_UNSET {
		t.Error("nothing became an error")
	}
}

func TestHealthChecksHaveNoSpans(t *testing.T) {
	kept, s := collecting(t)
	made := traces(t, s)
	server := grpc.NewServer(made.ServerOptions()...)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	connection, err := grpc.NewClient(serveOn(t, server), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	client := grpc_health_v1.NewHealthClient(connection)
	if _, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	// An RPC that is not there stands for every other one.
	_ = connection.Invoke(
		t.Context(), "/no.Such/Method", &grpc_health_v1.HealthCheckRequest{}, &grpc_health_v1.HealthCheckResponse{},
	)
	server.GracefulStop()
	made.Close(t.Context())
	for name := range kept.spans() {
		if strings.Contains(name, "Health") {
			t.Errorf("the collector got span %s", name)
		}
	}
}

func TestACollectorThatIsAwayOrSilentSlowsNoCallAndNoStop(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	_ = listener.Close()
	for _, endpoint := range []string{"http://" + closed, "http://" + silent(t), "https://" + silent(t)} {
		made := traces(t, &settings.Settings{Service: settings.Service{Name: "digits-service", OTLPEndpoint: endpoint}})
		begun := time.Now()
		for range 10_000 { // several times what the queue holds
			_, finish := made.Span(t.Context(), "work")
			finish(nil)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("10,000 spans to %s took %s", endpoint, took)
		}
		begun = time.Now()
		made.Close(t.Context())
		if took := time.Since(begun); took > closeTimeout+500*time.Millisecond {
			t.Errorf("with the collector at %s the stop took %s", endpoint, took)
		}
	}
}

func TestALostCollectorIsToldOnceAMinuteInTheLogsForm(t *testing.T) {
	var lines bytes.Buffer
	told := &reporter{log: NewLog(&lines)}
	for range 100 {
		told.Handle(context.DeadlineExceeded)
	}
	told.log.Flush()
	if count := strings.Count(lines.String(), "\n"); count != 1 {
		t.Errorf("100 failures wrote %d lines", count)
	}
	if !strings.Contains(lines.String(), `"event":"traces","problem":"context deadline exceeded"`) {
		t.Errorf("the line is %s", lines.String())
	}
}
