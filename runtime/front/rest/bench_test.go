package rest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"accelform/front/refusal"
	"accelform/front/telemetry"
)

func BenchmarkPredictOverLoopback(b *testing.B) {
	d := newDoor(b, func(deps *Deps) {
		deps.Settings.MaxRequestBytes = 1 << 20
		deps.Log = telemetry.NewLog(io.Discard)
		deps.Score = func(context.Context, RestCall) ([]byte, [][2]string, *refusal.Refusal) {
			return []byte(`{"predictions": [1]}`), [][2]string{{"x-accelform-engine", "native"}}, nil
		}
	})
	server := httptest.NewUnstartedServer(d)
	server.Config = NewServer(d, nil, d.deps.Settings)
	server.Start()
	defer server.Close()
	body := strings.Repeat("x", 100_000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		request, err := http.NewRequest("POST", server.URL+predict, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		request.Header.Set("Authorization", key)
		answer, err := server.Client().Do(request)
		if err != nil || answer.StatusCode != 200 {
			b.Fatal(answer, err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
}
