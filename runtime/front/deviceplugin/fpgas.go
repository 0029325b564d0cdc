package deviceplugin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"accelform/front/telemetry"
)

const (
	faultFile  = "fault"
	lockFolder = "lock-folder"
	lockFile   = "lock"
	// longestReason is how much of a fault's text is told.
	longestReason = 200
)

// fpga is one emulated FPGA at one moment.
type fpga struct {
	id     string
	folder string
	// fault is why it cannot be used; empty: it can.
	fault string
}

// fpgas are those of the node. Their state is in files, so that it outlives the plugin and can be changed from outside:
// DEVICES/ID/fault makes one unusable for as long as it is there.
type fpgas struct {
	log *telemetry.Log

	looking sync.Mutex // one look at a time
	mu      sync.Mutex
	all     []fpga
	changed chan struct{} // closed with the next change
}

func newFPGAs(o *Options, log *telemetry.Log) *fpgas {
	found := &fpgas{log: log, changed: make(chan struct{})}
	for number := range o.Count {
		id := fmt.Sprintf("fpga-%d", number)
		found.all = append(found.all, fpga{id: id, folder: filepath.Join(o.DevicesFolder, id)})
	}
	return found
}

// now is the state of all, and a channel that is closed when it is no longer true.
func (f *fpgas) now() ([]fpga, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]fpga(nil), f.all...), f.changed
}

// find is one by its id.
func (f *fpgas) find(id string) (fpga, bool) {
	all, _ := f.now()
	for _, each := range all {
		if each.id == id {
			return each, true
		}
	}
	return fpga{}, false
}

// look takes in what the files say, and tells of what changed.
func (f *fpgas) look() {
	f.looking.Lock()
	defer f.looking.Unlock()
	all, _ := f.now()
	changed := false
	for index, each := range all {
		fault := each.examine()
		if fault == each.fault {
			continue
		}
		changed = true
		all[index].fault = fault
		state := "Healthy"
		if fault != "" {
			state = "Unhealthy"
		}
		f.log.Write("health", "fpga", each.id, "state", state, "reason", fault)
	}
	if !changed {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = all
	close(f.changed)
	f.changed = make(chan struct{})
}

// examine makes the folder of a service's lock where it is not there, and tells what keeps the FPGA from being used.
func (f fpga) examine() string {
	if err := f.prepare(); err != nil {
		return err.Error()
	}
	file, err := os.OpenFile(filepath.Join(f.folder, faultFile), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return fmt.Sprintf("its fault file cannot be read: %s", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, longestReason))
	if reason := strings.Join(strings.Fields(string(text)), " "); err == nil && reason != "" {
		return strings.ToValidUTF8(reason, "?")
	}
	return "it has a fault file without a reason"
}

// lockFolder is what a service's pod gets mounted.
func (f fpga) lockFolder() string { return filepath.Join(f.folder, lockFolder) }

// prepare makes the folders. Services run as users without rights, which differ; only those that get the folder mounted
// come there, since the FPGA's own folder is closed.
func (f fpga) prepare() error {
	if err := os.MkdirAll(f.folder, 0o700); err != nil {
		return fmt.Errorf("cannot make its folder: %w", err)
	}
	if info, err := os.Stat(f.lockFolder()); err == nil && info.IsDir() && info.Mode().Perm() == 0o777 {
		return nil
	}
	if err := os.MkdirAll(f.lockFolder(), 0o777); err != nil {
		return fmt.Errorf("cannot make the folder of its lock: %w", err)
	}
	if err := os.Chmod(f.lockFolder(), 0o777); err != nil {
		return fmt.Errorf("cannot open the folder of its lock to services: %w", err)
	}
	return nil
}
