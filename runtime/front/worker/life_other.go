//go:build !linux

package worker

import "time"

// CPU is not told by this system.
func (p *Process) CPU() (time.Duration, bool) { return 0, false }

// Runnable is not told by this system.
func (p *Process) Runnable() bool { return false }
