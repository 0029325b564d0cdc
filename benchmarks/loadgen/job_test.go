package main

import (
	"strings"
	"testing"
	"time"
)

func TestJobThatWouldNotEndOrSaysTooLittleIsRefused(t *testing.T) {
	for _, text := range []string{
		`{}`,
		`not JSON`,
		`{"protocol": "grpc", "target": "a:1", "method": "/a/B", "payload": "p"}`,
		`{"protocol": "grpc", "target": "a:1", "payload": "p", "count": 1}`,
		`{"protocol": "smtp", "target": "a:1", "payload": "p", "count": 1}`,
		`{"protocol": "http", "target": "a:1", "payload": "p", "count": 1, "rate": -1}`,
		`{"protocol": "http", "target": "a:1", "payload": "p", "count": 1, "unheard_of": 1}`,
	} {
		if _, err := ReadJob(strings.NewReader(text)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

func TestJobGetsOneClientAndAMinute(t *testing.T) {
	job, err := ReadJob(strings.NewReader(`{"protocol": "http", "target": "u", "payload": "p", "count": 1}`))
	if err != nil || job.Clients != 1 || job.Timeout() != time.Minute {
		t.Errorf("got %+v, %v", job, err)
	}
}

func TestCallsOfAnOpenLoopAreDueAtASteadyPace(t *testing.T) {
	job := Job{Rate: 40}
	if job.due(0) != 0 || job.due(1) != 25*time.Millisecond || job.due(400) != 10*time.Second {
		t.Errorf("got %v, %v, %v", job.due(0), job.due(1), job.due(400))
	}
}

func TestCodesAreNamedAsGRPCWritesThem(t *testing.T) {
	for name, expected := range map[string]string{"OK": "OK", "ResourceExhausted": "RESOURCE_EXHAUSTED"} {
		if found := codeName(name); found != expected {
			t.Errorf("got %s, expected %s", found, expected)
		}
	}
}
