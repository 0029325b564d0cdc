package telemetry

import (
	"context"
	"net"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"accelform/front/settings"
)

// sink is a collector that keeps what it is sent.
type sink struct {
	collector.UnimplementedTraceServiceServer
	lock sync.Mutex
	got  []*otlp.ResourceSpans
}

func (s *sink) Export(
	_ context.Context, request *collector.ExportTraceServiceRequest,
) (*collector.ExportTraceServiceResponse, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.got = append(s.got, request.GetResourceSpans()...)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (s *sink) spans() map[string]*otlp.Span {
	s.lock.Lock()
	defer s.lock.Unlock()
	found := map[string]*otlp.Span{}
	for _, of := range s.got {
		for _, scope := range of.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				found[span.GetName()] = span
			}
		}
	}
	return found
}

func serveOn(t *testing.T, server *grpc.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func collecting(t *testing.T) (*sink, *settings.Settings) {
	t.Helper()
	kept, server := &sink{}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, kept)
	return kept, &settings.Settings{Service: settings.Service{Name: "digits-service", OTLPEndpoint: "http://" + serveOn(t, server)}}
}

func traces(t *testing.T, s *settings.Settings) *Traces {
	t.Helper()
	made, err := NewTraces(t.Context(), s, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func valueOf(of []*common.KeyValue, key string) string {
	for _, pair := range of {
		if pair.GetKey() == key {
			return pair.GetValue().GetStringValue()
		}
	}
	return ""
}

// silent accepts connections and never says a word.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = connection.Close() })
		}
	}()
	return listener.Addr().String()
}
