// Command loadgen puts load on one server and says how it answered.
//
// It reads one job as JSON from standard input and writes one report as JSON to standard output. One process runs one
// job, so that the processor time it took is its own.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "loadgen: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	job, err := ReadJob(os.Stdin)
	if err != nil {
		return err
	}
	report, err := Run(ctx, job)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}
