// accelform-front serves one model: it listens, lets callers in, keeps their order, and hands their messages to the
// process that has the model.
//
// accelform_runtime.server checks the configuration and then becomes this program; nobody starts it by hand. Exit codes
// are 0: stopped when asked to, 2: the configuration, the model or the port has to change, 1: the runtime failed.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"accelform/front/deviceplugin"
	"accelform/front/settings"
	"accelform/front/stop"
	"accelform/front/telemetry"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "device-plugin" {
		runtime.GOMAXPROCS(1)
		log := telemetry.NewLog(os.Stderr)
		code := deviceplugin.Main(os.Args[2:], log)
		log.Flush()
		os.Exit(code)
	}
	handed := flag.Int("settings-fd", -1, "pipe with the settings")
	lock := flag.Int("lock-fd", -1, "open file whose lock is the FPGA's")
	// What the service serves is in the settings; these stand in the process list for people and tools to see.
	flag.String("model-dir", "", "folder of the model bundle")
	flag.String("config", "", "service.json")
	flag.Parse()
	if os.Getenv("GOMAXPROCS") == "" {
		// One FPGA asks for a fraction of a processor. With more of them Go wakes another thread at every step of a call,
		// which costs a quick call a tenth of its time (benchmarks/results/small_model.json), and takes the model's.
		runtime.GOMAXPROCS(1)
	}
	signal.Ignore(syscall.SIGPIPE) // who reads the log may leave; Go would end the program with its next line
	log := telemetry.NewLog(os.Stderr)
	code := run(*handed, *lock, log)
	log.Flush()
	os.Exit(code)
}

func run(handed, lock int, log *telemetry.Log) int {
	if lock >= 0 {
		unix.CloseOnExec(lock) // a worker that hangs must not hold the FPGA
		defer unix.Ftruncate(lock, 0)
	}
	pipe := os.NewFile(uintptr(handed), "settings")
	found, err := settings.Read(pipe)
	if err != nil {
		return fail(log, err)
	}
	pipe.Close()
	log.Lose(found.LogLinesLost)
	served, err := open(found, log)
	if err != nil {
		return fail(log, err)
	}
	if err := served.live(context.Background(), stop.Signals); err != nil {
		return fail(log, err)
	}
	log.Write("stopped", "service", found.Name)
	return 0
}
