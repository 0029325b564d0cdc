// Package stop hears when the program is asked to end, from the program's first moments on.
//
// Go ends a program that does not listen yet: with exit code 2 where it is a container's first process, which the kernel
// keeps the signal from. So listening begins when this package is initialised. It imports next to nothing, and with it
// comes before the packages that take their time.
package stop

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Signals are SIGTERM, SIGINT and SIGHUP as they come in; a third one before the first is read is dropped.
var Signals = listen()

// Context ends with the first of the Signals, which nobody else may read then.
func Context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-Signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func listen() <-chan os.Signal {
	signals := make(chan os.Signal, 2)
	for _, each := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		// Whoever started us may have SIGHUP or SIGINT ignored, as nohup does.
		if !signal.Ignored(each) {
			signal.Notify(signals, each)
		}
	}
	return signals
}
