package deviceplugin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"accelform/front/stop"
	"accelform/front/telemetry"
)

const holderFile = ".device-plugin"

// Main runs the plugin until a signal asks it to stop; the exit code is 0, or 2 when somebody has to change something.
func Main(arguments []string, log *telemetry.Log) int {
	options, err := parse(arguments, os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil:
		ctx, cancel := stop.Context()
		defer cancel()
		err = run(ctx, options, log)
	}
	if err != nil {
		log.Write("error", "kind", "DevicePluginRefused", "message", err.Error(), "exit_code", 2)
		return 2
	}
	log.Write("stopped", "resource_name", options.ResourceName)
	return 0
}

// run serves until ctx ends; an error is why it could not begin.
func run(ctx context.Context, options *Options, log *telemetry.Log) error {
	held, err := hold(options)
	if err != nil {
		return err
	}
	defer held.Close()
	if err := alone(options); err != nil {
		return err
	}
	found := newFPGAs(options, log)
	p := &plugin{options: options, log: log, fpgas: found, metrics: newMetrics(found, log),
		told: map[string]string{}, deleted: map[string]string{}}
	log.Write("starting", "resource_name", options.ResourceName, "fpgas", options.Count, "devices_folder", options.DevicesFolder,
		"node", options.NodeName)
	found.look()
	if options.MetricsPort != 0 {
		server, err := p.metrics.serve(options.MetricsPort)
		if err != nil {
			return fmt.Errorf("cannot serve metrics: %w; choose another --metrics-port", err)
		}
		defer server.Close()
	}
	first, err := p.open()
	if err != nil {
		return err
	}
	var working sync.WaitGroup
	working.Go(func() {
		for pause(ctx, options.look) {
			found.look()
		}
	})
	working.Go(func() { p.relieve(ctx) })
	p.serve(ctx, first)
	working.Wait()
	return nil
}

// hold makes sure that no other plugin hands out the same FPGAs; the file is held while it is open.
func hold(options *Options) (*os.File, error) {
	if err := os.MkdirAll(options.DevicesFolder, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make --devices-folder: %w; mount the node's folder there", err)
	}
	path := filepath.Join(options.DevicesFolder, holderFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot use --devices-folder: %w", err)
	}
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		who, _ := io.ReadAll(io.LimitReader(file, 300))
		file.Close()
		return nil, fmt.Errorf("the FPGAs in %s are served already, by %s; one device plugin a node is enough: stop that one or "+
			"this one", options.DevicesFolder, strings.TrimSpace(string(who)))
	}
	host, _ := os.Hostname()
	_ = file.Truncate(0)
	_, _ = file.WriteAt([]byte(fmt.Sprintf("%s (process %d, %s)\n", host, os.Getpid(), options.ResourceName)), 0)
	return file, nil
}

// alone makes sure that no other plugin serves the resource from another folder.
func alone(options *Options) error {
	connection, _ := net.DialTimeout("unix", options.socket(), time.Second)
	if connection == nil {
		return nil
	}
	connection.Close()
	return fmt.Errorf("%s is served already, at %s; one device plugin a node is enough: stop that one or give this one another "+
		"--resource-name", options.ResourceName, options.socket())
}

// tell logs what goes wrong with something once for each reason; no reason: it is fine again.
func (p *plugin) tell(what, reason string) {
	p.telling.Lock()
	defer p.telling.Unlock()
	if p.told[what] == reason {
		return
	}
	p.told[what] = reason
	if reason != "" {
		p.log.Write("trouble", "with", what, "message", reason)
	}
}
