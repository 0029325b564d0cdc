package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

func serve(t *testing.T, handler http.HandlerFunc) Job {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	payload := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(payload, []byte("value"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Job{Protocol: "http", Target: server.URL, Payload: payload, Clients: 1, TimeoutMS: 10000}
}

func TestClosedLoopMakesExactlyTheCallsAskedFor(t *testing.T) {
	var served atomic.Int64
	job := serve(t, func(http.ResponseWriter, *http.Request) { served.Add(1) })
	job.Clients, job.Count, job.WarmUp = 3, 50, 2
	report, err := Run(t.Context(), job)
	if err != nil || report.Status[OK].Count != 50 || served.Load() != 56 {
		t.Errorf("got %+v, %v; %d calls arrived", report, err, served.Load())
	}
}

func TestLateAnswerMakesTheCallsBehindItLateToo(t *testing.T) {
	const pause = 200 * time.Millisecond
	first := make(chan struct{}, 1)
	first <- struct{}{}
	gate := make(chan struct{}, 1) // one call at a time, as behind one connection of a busy server
	gate <- struct{}{}
	job := serve(t, func(http.ResponseWriter, *http.Request) {
		<-gate
		select {
		case <-first:
			<-time.After(pause)
		default:
		}
		gate <- struct{}{}
	})
	job.Rate, job.Count = 100, 10
	report, err := Run(t.Context(), job)
	if err != nil || report.Status[OK].Count != 10 {
		t.Fatalf("got %+v, %v", report, err)
	}
	if half := report.Status[OK].P50; half < 90 {
		t.Errorf("the median call was due while the server paused, and counts only %.1f ms", half)
	}
}

func TestRefusalIsCountedUnderItsStatus(t *testing.T) {
	job := serve(t, func(reply http.ResponseWriter, _ *http.Request) {
		http.Error(reply, "full", http.StatusTooManyRequests)
	})
	job.Count = 3
	report, err := Run(t.Context(), job)
	if err != nil || report.Status["HTTP_429"].Count != 3 || report.Problems["HTTP_429"] != "full\n" {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestServerThatAnswersNoWarmUpIsNotMeasured(t *testing.T) {
	job := serve(t, func(reply http.ResponseWriter, _ *http.Request) { http.Error(reply, "no", http.StatusNotFound) })
	job.Count, job.WarmUp = 3, 1
	if report, err := Run(t.Context(), job); err == nil {
		t.Errorf("got %+v", report)
	}
}

func TestInterruptedRunStillReports(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	job := serve(t, func(http.ResponseWriter, *http.Request) { cancel() })
	job.Seconds = 60
	report, err := Run(ctx, job)
	if err != nil || report.Status[OK].Count != 1 {
		t.Errorf("got %+v, %v", report, err)
	}
}
