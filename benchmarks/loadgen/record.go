package main

import (
	"math"
	"slices"
	"sync"
	"time"
)

// Latency sums up milliseconds; percentiles are by nearest rank.
type Latency struct {
	Count   int     `json:"count"`
	P50     float64 `json:"p50_ms"`
	P90     float64 `json:"p90_ms"`
	P99     float64 `json:"p99_ms"`
	P999    float64 `json:"p999_ms"`
	Maximum float64 `json:"max_ms"`
}

// Summarise orders milliseconds and sums them up; nothing measured is all zeros.
func Summarise(milliseconds []float64) Latency {
	if len(milliseconds) == 0 {
		return Latency{}
	}
	ordered := slices.Sorted(slices.Values(milliseconds))
	rank := func(share float64) float64 {
		return ordered[max(0, int(math.Ceil(share*float64(len(ordered))))-1)]
	}
	return Latency{len(ordered), rank(0.5), rank(0.9), rank(0.99), rank(0.999), ordered[len(ordered)-1]}
}

// Record collects what became of calls; it may be used by many callers at once.
type Record struct {
	mutex    sync.Mutex
	latency  map[string][]float64
	problems map[string]string
	bytes    int
}

// NewRecord is an empty record.
func NewRecord() *Record {
	return &Record{latency: map[string][]float64{}, problems: map[string]string{}}
}

// Add notes one call's answer and how long it took.
func (record *Record) Add(answer Answer, took time.Duration) {
	record.mutex.Lock()
	defer record.mutex.Unlock()
	record.latency[answer.Status] = append(record.latency[answer.Status], float64(took)/float64(time.Millisecond))
	if answer.Status == OK {
		record.bytes = answer.Bytes
	} else if _, known := record.problems[answer.Status]; !known {
		record.problems[answer.Status] = answer.Problem
	}
}

// ByStatus sums up the calls of each status.
func (record *Record) ByStatus() map[string]Latency {
	record.mutex.Lock()
	defer record.mutex.Unlock()
	found := map[string]Latency{}
	for name, milliseconds := range record.latency {
		found[name] = Summarise(milliseconds)
	}
	return found
}

// Report is what a run says at its end.
type Report struct {
	// Seconds is from the first counted call's start to the last one's end.
	Seconds float64 `json:"seconds"`
	// Sent is how many calls were made, Rate how many of them were answered OK in a second.
	Sent int     `json:"sent"`
	Rate float64 `json:"ok_per_second"`
	// Status has each status that came with the latencies of its calls. In an open loop a call's latency counts from
	// when it was due, so that a server that is late for one call is late for those behind it too.
	Status map[string]Latency `json:"status"`
	// Problems has one message for each status but OK.
	Problems map[string]string `json:"problems"`
	// ReplyBytes is the length of the last reply.
	ReplyBytes int `json:"reply_bytes"`
	// CPUSeconds is what this process took meanwhile.
	CPUSeconds float64 `json:"cpu_seconds"`
	// Health has the health checks made beside the load by their answers.
	Health map[string]Latency `json:"health,omitempty"`
	// Milliseconds has every call that was answered OK, in no certain order.
	Milliseconds []float64 `json:"milliseconds,omitempty"`
}

// report sums up record after a run of so long.
func (record *Record) report(took time.Duration, cpu float64, samples bool) Report {
	status := record.ByStatus()
	sent := 0
	for _, latency := range status {
		sent += latency.Count
	}
	found := Report{
		Seconds:    took.Seconds(),
		Sent:       sent,
		Rate:       float64(status[OK].Count) / max(took.Seconds(), 1e-9),
		Status:     status,
		Problems:   record.problems,
		ReplyBytes: record.bytes,
		CPUSeconds: cpu,
	}
	if samples {
		found.Milliseconds = record.latency[OK]
	}
	return found
}
