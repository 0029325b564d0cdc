//go:build !linux

package worker

import "os/exec"

// Without a death signal the worker leaves when it next reads its socket.
func dieWithParent(*exec.Cmd) {}

// keepStopsAway: the worker itself soon ignores them.
func keepStopsAway() {}
