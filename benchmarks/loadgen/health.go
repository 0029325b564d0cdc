package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// prober asks a server's health at a steady pace; each question's time counts from when it was due.
type prober struct {
	cancel     context.CancelFunc
	done       chan struct{}
	record     *Record
	connection *grpc.ClientConn
}

// startProber begins to ask as job wants it; nil when it does not.
func startProber(ctx context.Context, job Job) (*prober, error) {
	if job.HealthEveryMS == 0 {
		return nil, nil
	}
	security, err := transport(job.CAFile)
	if err != nil {
		return nil, err
	}
	target := job.HealthTarget
	if target == "" {
		target = job.Target
	}
	connection, err := dial(target, security)
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithCancel(ctx)
	found := &prober{cancel, make(chan struct{}), NewRecord(), connection}
	client := grpc_health_v1.NewHealthClient(connection)
	ask(asking, client) // the connection's making is not the answer's time
	go found.run(asking, client, time.Duration(job.HealthEveryMS*float64(time.Millisecond)))
	return found, nil
}

func (found *prober) run(ctx context.Context, client grpc_health_v1.HealthClient, every time.Duration) {
	defer close(found.done)
	for due := time.Now(); sleep(ctx, time.Until(due)); due = due.Add(every) {
		answer := ask(ctx, client)
		if ctx.Err() != nil {
			return
		}
		found.record.Add(answer, time.Since(due))
	}
}

func ask(ctx context.Context, client grpc_health_v1.HealthClient) Answer {
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	reply, err := client.Check(limited, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return Answer{Status: codeName(status.Code(err).String()), Problem: err.Error()}
	}
	return Answer{Status: reply.Status.String()}
}

// stop ends the questions and sums them up by answer; nil where none were asked.
func (found *prober) stop() map[string]Latency {
	if found == nil {
		return nil
	}
	found.cancel()
	<-found.done
	_ = found.connection.Close()
	return found.record.ByStatus()
}
