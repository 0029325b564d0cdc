package worker

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOfProcess makes a clock's number of a process's id; see CPUCLOCK_SCHED in the kernel's posix-timers.
const cpuOfProcess = 2

// CPU is the processor time that the process has used so far; false where the system does not tell.
func (p *Process) CPU() (time.Duration, bool) {
	var used unix.Timespec
	if unix.ClockGettime(int32(^p.PID()<<3|cpuOfProcess), &used) != nil {
		return 0, false
	}
	return time.Duration(used.Nano()), true
}

// Runnable is whether one of the process's threads runs or waits for nothing but a processor.
func (p *Process) Runnable() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
	for _, thread := range threads {
		content, _ := os.ReadFile(thread)
		// The state follows the name, which is in parentheses and may hold some itself.
		if at := bytes.LastIndexByte(content, ')'); at >= 0 && at+2 < len(content) && content[at+2] == 'R' {
			return true
		}
	}
	return false
}
