package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// OK is the status of an answered call, whatever the protocol.
const OK = "OK"

// Answer is what became of one call.
type Answer struct {
	// Status is OK, a gRPC code such as RESOURCE_EXHAUSTED, HTTP_ and a number, or FAILED for a broken connection.
	Status string
	// Bytes is the length of the reply.
	Bytes int
	// Problem is the server's message when the status is not OK.
	Problem string
}

// Caller sends the job's payload over one connection.
type Caller interface {
	Call(ctx context.Context) Answer
	Close()
}

// NewCaller connects for job; the connection is made with the first call.
func NewCaller(job Job, payload []byte) (Caller, error) {
	security, err := transport(job.CAFile)
	if err != nil {
		return nil, err
	}
	if job.Protocol == "http" {
		return newHTTPCaller(job, payload, security), nil
	}
	return newGRPCCaller(job, payload, security)
}

// transport is the TLS that trusts the authority in caFile; nil without one.
func transport(caFile string) (*tls.Config, error) {
	if caFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("the authority can't be read: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	return &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS13}, nil
}
