package main

import (
	"testing"
	"time"
)

func TestPercentilesAreByNearestRank(t *testing.T) {
	values := make([]float64, 0, 1000)
	for value := 1000; value > 0; value-- {
		values = append(values, float64(value))
	}
	found := Summarise(values)
	expected := Latency{Count: 1000, P50: 500, P90: 900, P99: 990, P999: 999, Maximum: 1000}
	if found != expected {
		t.Errorf("got %+v, expected %+v", found, expected)
	}
}

func TestOneValueIsEveryPercentile(t *testing.T) {
	if found := Summarise([]float64{7}); found != (Latency{1, 7, 7, 7, 7, 7}) {
		t.Errorf("got %+v", found)
	}
}

func TestNothingMeasuredIsZeros(t *testing.T) {
	if found := Summarise(nil); found != (Latency{}) {
		t.Errorf("got %+v", found)
	}
}

func TestReportCountsByStatusAndKeepsTheFirstProblem(t *testing.T) {
	record := NewRecord()
	record.Add(Answer{Status: OK, Bytes: 40}, 2*time.Millisecond)
	record.Add(Answer{Status: OK, Bytes: 41}, 4*time.Millisecond)
	record.Add(Answer{Status: "RESOURCE_EXHAUSTED", Problem: "the queue is full"}, time.Millisecond)
	record.Add(Answer{Status: "RESOURCE_EXHAUSTED", Problem: "another"}, time.Millisecond)
	report := record.report(2*time.Second, 0.5, true)
	if report.Sent != 4 || report.Rate != 1 || report.ReplyBytes != 41 || len(report.Milliseconds) != 2 {
		t.Errorf("got %+v", report)
	}
	if found := report.Problems["RESOURCE_EXHAUSTED"]; found != "the queue is full" {
		t.Errorf("got the problem %q", found)
	}
	if found := report.Status["RESOURCE_EXHAUSTED"].Count; found != 2 {
		t.Errorf("got %d refusals", found)
	}
}
