package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Job is what one run does. Either Rate is 0 and Clients callers each send their next call when the last is answered,
// or calls are sent Rate times a second whatever the answers do.
type Job struct {
	// Protocol is "grpc" or "http".
	Protocol string `json:"protocol"`
	// Target is host:port for gRPC, a URL for HTTP.
	Target string `json:"target"`
	// Method is the gRPC method, /package.Service/Method.
	Method string `json:"method"`
	// Payload is the file whose bytes are sent: a serialised message, or an HTTP body.
	Payload string `json:"payload"`
	// Metadata goes with every call: gRPC metadata or HTTP headers.
	Metadata map[string]string `json:"metadata"`
	// CAFile turns TLS on and holds the authority that the server's certificate has to come from.
	CAFile string `json:"ca_file"`

	// Clients is how many callers there are, each with its own connection.
	Clients int `json:"clients"`
	// Rate is calls per second; 0: as fast as answers come.
	Rate float64 `json:"rate"`
	// Count ends the run after so many calls, Seconds after so much time; one of them is needed.
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
	// WarmUp calls are made beforehand by each client and not counted.
	WarmUp int `json:"warm_up"`
	// TimeoutMS is each call's deadline; 0: a minute.
	TimeoutMS float64 `json:"timeout_ms"`
	// HealthEveryMS asks the server's gRPC health beside the load, on a connection of its own; 0: not at all.
	HealthEveryMS float64 `json:"health_every_ms"`
	// HealthTarget is where health is asked; empty: Target.
	HealthTarget string `json:"health_target"`
	// Samples puts the latency of every answered call into the report.
	Samples bool `json:"samples"`
}

// ReadJob reads and checks a job.
func ReadJob(from io.Reader) (Job, error) {
	var job Job
	decoder := json.NewDecoder(from)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&job); err != nil {
		return Job{}, fmt.Errorf("the job on standard input is not understood: %w", err)
	}
	if job.Clients == 0 {
		job.Clients = 1
	}
	if job.TimeoutMS == 0 {
		job.TimeoutMS = float64(time.Minute.Milliseconds())
	}
	return job, job.check()
}

func (job Job) check() error {
	switch {
	case job.Protocol != "grpc" && job.Protocol != "http":
		return fmt.Errorf("protocol is %q; there are grpc and http", job.Protocol)
	case job.Target == "" || job.Payload == "":
		return errors.New("a job needs target and payload")
	case job.Protocol == "grpc" && job.Method == "":
		return errors.New("a gRPC job needs method, such as /package.Service/Method")
	case job.Count <= 0 && job.Seconds <= 0:
		return errors.New("a job needs count or seconds, or it would never end")
	case job.Clients < 0 || job.Rate < 0 || job.WarmUp < 0 || job.TimeoutMS < 0 || job.HealthEveryMS < 0:
		return errors.New("clients, rate, warm_up, timeout_ms and health_every_ms can't be negative")
	}
	return nil
}

// Timeout is each call's deadline.
func (job Job) Timeout() time.Duration {
	return time.Duration(job.TimeoutMS * float64(time.Millisecond))
}

// due is when call number n of an open loop has to be sent, after its start.
func (job Job) due(n int) time.Duration {
	return time.Duration(float64(n) / job.Rate * float64(time.Second))
}
