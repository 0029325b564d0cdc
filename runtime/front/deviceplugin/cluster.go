package deviceplugin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	apiTime       = 10 * time.Second
	longestAnswer = 8 << 20
)

// apiServer is the cluster's, as a pod with a service account reaches it.
type apiServer struct {
	base   string
	token  string
	client *http.Client
}

// connect reads where the API server is and who we are; tokens change, so this is done for each use.
func (p *plugin) connect() (*apiServer, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, fmt.Errorf("the API server is unknown (KUBERNETES_SERVICE_HOST is not set); run the plugin as a pod")
	}
	token, err := os.ReadFile(filepath.Join(p.options.ServiceAccountFolder, "token"))
	if err != nil {
		return nil, fmt.Errorf("there is no token for the API server: %w; give the plugin's pod its service account", err)
	}
	trusted, err := os.ReadFile(filepath.Join(p.options.ServiceAccountFolder, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("the API server's authority is unknown: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(trusted) {
		return nil, fmt.Errorf("%s/ca.crt holds no certificate", p.options.ServiceAccountFolder)
	}
	return &apiServer{
		base:  "https://" + net.JoinHostPort(host, port),
		token: string(bytes.TrimSpace(token)),
		client: &http.Client{
			Timeout: apiTime,
			Transport: &http.Transport{
				DisableKeepAlives: true,
				TLSClientConfig:   &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12},
			},
		},
	}, nil
}

// deletePod asks for a pod's end and gives its uid; empty: it has gone already.
func (s *apiServer) deletePod(ctx context.Context, of pod) (string, error) {
	path := "/api/v1/namespaces/" + url.PathEscape(of.namespace) + "/pods/" + url.PathEscape(of.name)
	code, content, err := s.ask(ctx, http.MethodDelete, path)
	switch {
	case err != nil:
		return "", err
	case code == http.StatusNotFound:
		return "", nil
	case code == http.StatusForbidden:
		return "", fmt.Errorf("the plugin may not delete pods in namespace %s; give its service account the right to", of.namespace)
	case code >= http.StatusBadRequest:
		return "", fmt.Errorf("the API server answered the deletion with %d", code)
	}
	var found struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(content, &found); err != nil {
		return "", fmt.Errorf("the API server's answer to the deletion cannot be read: %w", err)
	}
	return found.Metadata.UID, nil
}

// allocatable is how much of a resource a node shows.
func (s *apiServer) allocatable(ctx context.Context, node, resource string) (int, error) {
	code, content, err := s.ask(ctx, http.MethodGet, "/api/v1/nodes/"+url.PathEscape(node))
	switch {
	case err != nil:
		return 0, err
	case code == http.StatusForbidden:
		return 0, fmt.Errorf("the plugin may not get node %s; pods are deleted before the node shows why", node)
	case code >= http.StatusBadRequest:
		return 0, fmt.Errorf("the API server answered for node %s with %d", node, code)
	}
	var found struct {
		Status struct {
			Allocatable map[string]string `json:"allocatable"`
		} `json:"status"`
	}
	if err := json.Unmarshal(content, &found); err != nil {
		return 0, fmt.Errorf("the API server's answer for node %s cannot be read: %w", node, err)
	}
	shown, _ := strconv.Atoi(found.Status.Allocatable[resource]) // what is not shown is none
	return shown, nil
}

func (s *apiServer) ask(ctx context.Context, verb, path string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, verb, s.base+path, nil)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("Accept", "application/json")
	answer, err := s.client.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("the API server does not answer: %w", err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, longestAnswer))
	return answer.StatusCode, content, err
}
