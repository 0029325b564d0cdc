package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// mostAtOnce is how many calls of an open loop may be under way; those beyond are not sent and counted as UNSENT.
const mostAtOnce = 20000

// Run does a job: connects, warms up, puts the load on, and sums up.
func Run(ctx context.Context, job Job) (Report, error) {
	payload, err := os.ReadFile(job.Payload)
	if err != nil {
		return Report{}, fmt.Errorf("the payload can't be read: %w", err)
	}
	callers := make([]Caller, job.Clients)
	for index := range callers {
		if callers[index], err = NewCaller(job, payload); err != nil {
			return Report{}, err
		}
		defer callers[index].Close()
	}
	if err := warmUp(ctx, job, callers); err != nil {
		return Report{}, err
	}
	prober, err := startProber(ctx, job)
	if err != nil {
		return Report{}, err
	}
	record, cpu, started := NewRecord(), cpuSeconds(), time.Now()
	if job.Rate > 0 {
		openLoop(ctx, job, callers, record)
	} else {
		closedLoop(ctx, job, callers, record)
	}
	report := record.report(time.Since(started), cpuSeconds()-cpu, job.Samples)
	report.Health = prober.stop()
	return report, nil
}

// warmUp makes the uncounted calls. A server that answers none of a caller's is no use to measure.
func warmUp(ctx context.Context, job Job, callers []Caller) error {
	for _, caller := range callers {
		answered, last := job.WarmUp == 0, Answer{}
		for range job.WarmUp {
			last = callOnce(ctx, job, caller)
			answered = answered || last.Status == OK
		}
		if !answered {
			return fmt.Errorf("%s answers no call of the warm-up; the last: %s %s", job.Target, last.Status, last.Problem)
		}
	}
	return nil
}

// callOnce is not cut short when the run is told to end: a call that was begun is a call that counts.
func callOnce(ctx context.Context, job Job, caller Caller) Answer {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), job.Timeout())
	defer cancel()
	return caller.Call(limited)
}

// closedLoop has each caller send its next call when the last one is answered.
func closedLoop(ctx context.Context, job Job, callers []Caller, record *Record) {
	var taken atomic.Int64
	started := time.Now()
	over := func() bool {
		return ctx.Err() != nil || job.Seconds > 0 && time.Since(started).Seconds() >= job.Seconds ||
			job.Count > 0 && taken.Add(1) > int64(job.Count)
	}
	var running sync.WaitGroup
	for _, caller := range callers {
		running.Go(func() {
			for !over() {
				sent := time.Now()
				answer := callOnce(ctx, job, caller)
				record.Add(answer, time.Since(sent))
			}
		})
	}
	running.Wait()
}

// openLoop sends each call when it is due, by the callers in turn, and waits for the answers at the end.
func openLoop(ctx context.Context, job Job, callers []Caller, record *Record) {
	var running sync.WaitGroup
	var underWay atomic.Int64
	started := time.Now()
	for number := 0; job.Count == 0 || number < job.Count; number++ {
		after := job.due(number)
		if job.Seconds > 0 && after.Seconds() >= job.Seconds {
			break
		}
		due := started.Add(after)
		if !sleep(ctx, time.Until(due)) {
			break
		}
		if underWay.Load() >= mostAtOnce {
			record.Add(Answer{Status: "UNSENT", Problem: "too many calls are under way"}, 0)
			continue
		}
		underWay.Add(1)
		caller := callers[number%len(callers)]
		running.Go(func() {
			defer underWay.Add(-1)
			answer := callOnce(ctx, job, caller)
			record.Add(answer, time.Since(due))
		})
	}
	running.Wait()
}

// sleep waits, and says whether the run goes on.
func sleep(ctx context.Context, duration time.Duration) bool {
	if duration <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(duration):
		return true
	}
}

// cpuSeconds is the user and system time of this process so far.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
