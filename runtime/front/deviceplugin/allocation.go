package deviceplugin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kubelet "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	// mountPoint is where a container finds its FPGA.
	mountPoint = "/run/accelform/fpga"
	idVariable = "ACCELFORM_FPGA"
	// leaving is how long the process of a pod before may take to be gone.
	leaving = 5 * time.Second
)

// allocate is what a container gets with its FPGAs, of which one fits into it.
func (p *plugin) allocate(ctx context.Context, ids []string) (*kubelet.ContainerAllocateResponse, error) {
	p.fpgas.look() // a fault counts from now on, not from the next look on
	for _, id := range ids {
		found, known := p.fpgas.find(id)
		switch {
		case !known:
			return nil, status.Errorf(codes.NotFound, "this node has no FPGA %q; it has %s", id, p.ids())
		case found.fault != "":
			return nil, status.Errorf(codes.FailedPrecondition, "%s cannot be used: %s", id, found.fault)
		}
	}
	if len(ids) != 1 {
		return nil, status.Errorf(codes.InvalidArgument,
			"a container takes one FPGA, this one asks for %d (%s); set its limit of %s to 1",
			len(ids), strings.Join(ids, ", "), p.options.ResourceName)
	}
	found, _ := p.fpgas.find(ids[0])
	if err := found.clear(ctx); err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "%s cannot be used: %s", found.id, err)
	}
	return &kubelet.ContainerAllocateResponse{
		Envs:   map[string]string{idVariable: found.id},
		Mounts: []*kubelet.Mount{{ContainerPath: mountPoint, HostPath: found.lockFolder()}},
	}, nil
}

func (p *plugin) ids() string {
	all, _ := p.fpgas.now()
	var found []string
	for _, each := range all {
		found = append(found, each.id)
	}
	return strings.Join(found, ", ")
}

// clear removes what the service before has left and puts a new lock file in place, which any user may lock, once nobody
// holds the old one.
func (f fpga) clear(ctx context.Context) error {
	path := filepath.Join(f.lockFolder(), lockFile)
	deadline := time.Now().Add(leaving)
	for {
		if free(path) {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s still holds it", holder(path))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := f.empty(); err != nil {
		return err
	}
	made, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("cannot make its lock file: %w", err)
	}
	defer made.Close()
	return made.Chmod(0o666) // whatever the umask says
}

// empty removes what the service before has left. What cannot be removed, since the plugin has no right to look into it,
// is put aside.
func (f fpga) empty() error {
	left, err := os.ReadDir(f.lockFolder())
	if err != nil {
		return fmt.Errorf("cannot look into its folder: %w", err)
	}
	for _, each := range left {
		if os.RemoveAll(filepath.Join(f.lockFolder(), each.Name())) == nil {
			continue
		}
		aside := filepath.Join(f.folder, fmt.Sprintf("left-%d", time.Now().UnixNano()))
		if err := os.Rename(f.lockFolder(), aside); err != nil {
			return fmt.Errorf("cannot remove what the service before has left: %w", err)
		}
		return f.prepare()
	}
	return nil
}

// free is whether nobody holds the lock, as far as its file can be read.
func free(path string) bool {
	// Whatever a service has put there, it is not followed, waited for, or changed.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return true
	}
	defer file.Close()
	return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// holder is who a lock file says it is held by.
func holder(path string) string {
	var resident struct{ Service string }
	if file, err := os.Open(path); err == nil {
		defer file.Close()
		content, _ := io.ReadAll(io.LimitReader(file, 4096))
		if json.Unmarshal(content, &resident) == nil && resident.Service != "" {
			return fmt.Sprintf("service %q", resident.Service)
		}
	}
	return "another process"
}
