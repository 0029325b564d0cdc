package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"accelform/front/refusal"
	"accelform/front/settings"
)

const (
	exportTimeout = 5 * time.Second
	// closeTimeout bounds what an unreachable collector may cost the stop.
	closeTimeout = 2 * time.Second
)

// Traces sends spans to a collector. Spans wait in a bounded queue and are dropped when it is full: a collector that is
// slow or away costs no call anything. A nil Traces and one without a collector do nothing.
type Traces struct {
	provider    *sdktrace.TracerProvider
	tracer      trace.Tracer
	propagation propagation.TextMapPropagator
}

// NewTraces prepares to send to otlp_endpoint; nothing is dialled before there is a span. OpenTelemetry's environment
// variables (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_CERTIFICATE, ...)
// are respected.
func NewTraces(ctx context.Context, s *settings.Settings, version string) (*Traces, error) {
	if s.OTLPEndpoint == "" {
		return &Traces{}, nil
	}
	// OpenTelemetry would otherwise write lines of its own form among the service's; ReportTo puts them into its form.
	otel.SetLogger(logr.Discard())
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	exporter, err := otlptracegrpc.New(
		ctx, otlptracegrpc.WithEndpointURL(s.OTLPEndpoint), otlptracegrpc.WithTimeout(exportTimeout),
	)
	if err != nil {
		return nil, fmt.Errorf("cannot send traces to otlp_endpoint %s: %w", s.OTLPEndpoint, err)
	}
	// The environment comes last, so that it wins over our defaults.
	about, err := resource.New(
		ctx,
		resource.WithAttributes(
			attribute.String("service.name", s.Name), attribute.String("service.version", version),
		),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(),
	)
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("cannot read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &Traces{
		provider:    provider,
		tracer:      provider.Tracer("accelform/front", trace.WithInstrumentationVersion(version)),
		propagation: propagation.TraceContext{},
	}, nil
}

// Enabled tells whether there is a collector.
func (t *Traces) Enabled() bool { return t != nil && t.provider != nil }

// ServerOptions make a gRPC server put a span around each call but health's, below the caller's span if it sent one.
func (t *Traces) ServerOptions() []grpc.ServerOption {
	if !t.Enabled() {
		return nil
	}
	return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(t.provider),
		otelgrpc.WithPropagators(t.propagation),
		otelgrpc.WithFilter(filters.Not(filters.HealthCheck())),
	))}
}

// Span begins a span below the one in ctx; the function that comes back ends it, with an error if there was one.
func (t *Traces) Span(
	ctx context.Context, name string, attributes ...attribute.KeyValue,
) (context.Context, func(err error)) {
	return t.start(ctx, name, trace.SpanKindInternal, attributes)
}

// ServerSpan begins the span of an HTTP request, below the caller's span if the headers name one.
func (t *Traces) ServerSpan(
	ctx context.Context, headers http.Header, name string, attributes ...attribute.KeyValue,
) (context.Context, func(err error)) {
	if t.Enabled() {
		ctx = t.propagation.Extract(ctx, propagation.HeaderCarrier(headers))
	}
	return t.start(ctx, name, trace.SpanKindServer, attributes)
}

func (t *Traces) start(
	ctx context.Context, name string, kind trace.SpanKind, attributes []attribute.KeyValue,
) (context.Context, func(err error)) {
	if !t.Enabled() {
		return ctx, func(error) {}
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
	return ctx, func(err error) {
		if found := asRefusal(err); found != nil {
			name := CodeName(found.Code)
			span.SetAttributes(attribute.String("error.type", name))
			span.SetStatus(codes.Error, name+": "+found.Message)
		}
		span.End()
	}
}

// asRefusal also knows a nil *Refusal that was put into an error.
func asRefusal(err error) *refusal.Refusal {
	if err == nil {
		return nil
	}
	if found, is := err.(*refusal.Refusal); is {
		return found
	}
	return refusal.Of(err)
}

// Describe adds to a call's span what the device told of it.
func (t *Traces) Describe(ctx context.Context, c Call) {
	if !t.Enabled() {
		return
	}
	trace.SpanFromContext(ctx).SetAttributes(
		attribute.Int("accelform.images", c.Images),
		attribute.Float64("accelform.queue_wait_ms", Milliseconds(c.Queued)),
		attribute.Float64("accelform.fpga.modelled_latency_ms", c.ModelledLatencyMs),
		attribute.Float64("accelform.fpga.modelled_queue_ms", c.ModelledQueueMs),
	)
}

// ReportTo writes a line when spans could not be sent, at most one a minute.
func (t *Traces) ReportTo(log *Log) {
	if t.Enabled() {
		otel.SetErrorHandler(&reporter{log: log})
	}
}

// Close sends what waits, for as long as ctx and two seconds allow.
func (t *Traces) Close(ctx context.Context) {
	if !t.Enabled() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	// What could not be sent is told by ReportTo; there is nobody left to do something about it.
	_ = t.provider.Shutdown(ctx)
}
