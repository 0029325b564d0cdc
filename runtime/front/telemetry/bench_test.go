package telemetry

import (
	"net/http/httptest"
	"testing"

	"accelform/front/settings"
)

func BenchmarkObserve(b *testing.B) {
	m := NewMetrics(&settings.Settings{Service: settings.Service{HTTPEnabled: true}})
	m.Resident(Resident{Name: "digits", Version: 3})
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(scored)
	}
}

func BenchmarkScrape(b *testing.B) {
	m := NewMetrics(&settings.Settings{})
	m.Resident(Resident{Name: "digits", Version: 3})
	request := httptest.NewRequest("GET", "/metrics", nil)
	handler, size := m.Handler(), 0
	for b.Loop() {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		size = recorder.Body.Len()
	}
	b.ReportMetric(float64(size), "bytes")
}

func BenchmarkSpan(b *testing.B) {
	made, err := NewTraces(b.Context(), &settings.Settings{Service: settings.Service{OTLPEndpoint: "http://127.0.0.1:9"}}, "1")
	if err != nil {
		b.Fatal(err)
	}
	defer made.Close(b.Context())
	b.ReportAllocs()
	for b.Loop() {
		_, finish := made.Span(b.Context(), "work")
		finish(nil)
	}
}
