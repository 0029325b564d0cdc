package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
)

// problemLimit is how much of a refusal's text is kept.
const problemLimit = 500

type httpCaller struct {
	client  *http.Client
	url     string
	header  http.Header
	payload []byte
}

func newHTTPCaller(job Job, payload []byte, security *tls.Config) Caller {
	header := http.Header{}
	for key, value := range job.Metadata {
		header.Set(key, value)
	}
	connection := &http.Transport{TLSClientConfig: security, MaxIdleConnsPerHost: 1024, DisableCompression: true}
	return &httpCaller{&http.Client{Transport: connection}, job.Target, header, payload}
}

func (caller *httpCaller) Call(ctx context.Context) Answer {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, caller.url, bytes.NewReader(caller.payload))
	if err != nil {
		return Answer{Status: "FAILED", Problem: err.Error()}
	}
	request.Header = caller.header
	reply, err := caller.client.Do(request)
	if err != nil {
		return Answer{Status: "FAILED", Problem: err.Error()}
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(reply.Body, problemLimit))
		_, _ = io.Copy(io.Discard, reply.Body)
		return Answer{Status: fmt.Sprintf("HTTP_%d", reply.StatusCode), Problem: string(text)}
	}
	length, err := io.Copy(io.Discard, reply.Body)
	if err != nil {
		return Answer{Status: "FAILED", Problem: err.Error()}
	}
	return Answer{Status: OK, Bytes: int(length)}
}

func (caller *httpCaller) Close() { caller.client.CloseIdleConnections() }
