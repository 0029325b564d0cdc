package worker

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

func dieWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// keepStopsAway makes the processes that this thread starts deaf to what asks the front to stop: a terminal sends that to
// all of its processes, and a worker ends when the front tells it to.
func keepStopsAway() {
	var stops unix.Sigset_t
	for _, each := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		stops.Val[0] |= 1 << (each - 1)
	}
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &stops, nil)
}
