package security

import (
	"context"
	"crypto/tls"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
)

// A gRPC connection outlives a rotation; the next one gets the new certificate. Both come through Listen.
func TestCallsOverRotation(t *testing.T) {
	ca := newAuthority(t, "authority")
	files := filesIn(t, ca.issue(t, "old", nil, nil), nil)
	certificates, _, _ := opened(t, files)
	listener, err := Listen("127.0.0.1", 0, 8)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(certificates.Config("h2"))))
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	call := func(conn *grpc.ClientConn) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var who peer.Peer
		if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&who)); err != nil {
			t.Fatal(err)
		}
		return who.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].Subject.CommonName
	}
	connection := func() *grpc.ClientConn {
		t.Helper()
		conn, err := grpc.NewClient(listener.Addr().String(),
			grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: ca.pool})))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}

	first := connection()
	before := call(first)
	next := ca.issue(t, "next", nil, nil)
	put(t, files.certificate, next.certificate)
	put(t, files.key, next.key)
	if after, fresh := call(first), call(connection()); before != "old" || after != "old" || fresh != "next" {
		t.Errorf("the connection has %s, then %s; the next one has %s", before, after, fresh)
	}
}
