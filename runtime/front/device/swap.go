package device

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"accelform/front/refusal"
	"accelform/front/wire"
	"accelform/front/worker"
)

// bundleFile marks a folder that holds a model.
const bundleFile = "bundle.json"

// Wanted is the model that shall be resident.
type Wanted struct {
	Name string
	// Folder is a model's, or one with a folder per version, below model_root.
	Folder string
	// Version is which one; nil: the highest.
	Version *int64
	Labels  map[string]int64
}

// Swap loads another model beside the resident one and puts it in its place: calls that were accepted before are
// answered by the old one, calls after it by the new one. Where the new model cannot be loaded the old one stays.
func (d *Device) Swap(ctx context.Context, wanted Wanted) *refusal.Refusal {
	if !d.swapping.TryLock() {
		return refusal.New(codes.Aborted, "another model is being loaded at this moment; ask again when it is done")
	}
	defer d.swapping.Unlock()
	folder, refused := d.find(wanted)
	if refused != nil {
		return refused
	}
	present, refused := d.current()
	if refused != nil {
		return refused
	}
	number, _ := strconv.ParseInt(filepath.Base(folder), 10, 64)
	d.noteBeside(present, wanted.Name, number, wire.ModelVersionStatus_LOADING, nil)
	d.log.Write("swap", "state", "loading", "model", wanted.Name)
	loaded, refused := d.loadWanted(ctx, folder, wanted)
	if refused != nil {
		d.noteBeside(present, wanted.Name, number, wire.ModelVersionStatus_END, refused)
		d.log.Write("swap", "state", "kept", "message", refused.Message, "detail", refused.Detail)
		d.metrics.Swapped(false)
		return refused
	}
	d.forget(wanted.Name, number)
	d.replace(loaded)
	d.metrics.Swapped(true)
	return nil
}

func (d *Device) loadWanted(ctx context.Context, folder string, wanted Wanted) (*resident, *refusal.Refusal) {
	beside := d.config(folder, wanted.Labels)
	beside.load.Beside = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	loaded, err := load(ctx, beside)
	if d.life.Err() != nil {
		if err == nil {
			loaded.end(stopping)
		}
		return nil, stopping
	}
	if err != nil {
		return nil, swapRefusal(err)
	}
	about := loaded.description()
	refused := fits(about, wanted)
	if refused != nil {
		loaded.end(refused)
		return nil, refused
	}
	return loaded, nil
}

func fits(about *worker.About, wanted Wanted) *refusal.Refusal {
	if about.Name != wanted.Name {
		return refusal.New(codes.InvalidArgument, "base_path holds model %q, not %q; name it as its bundle does",
			about.Name, wanted.Name)
	}
	if wanted.Version != nil && about.Version != *wanted.Version {
		return refusal.New(codes.NotFound, "base_path holds version %d of %q, not version %d",
			about.Version, about.Name, *wanted.Version)
	}
	for label, number := range wanted.Labels {
		if number != about.Version {
			return refusal.New(codes.FailedPrecondition,
				"version label %q cannot stand for version %d, which is not loaded; version %d is",
				label, number, about.Version)
		}
	}
	return nil
}

// replace installs a resident, and ends the old one once it has answered what it had accepted.
func (d *Device) replace(loaded *resident) {
	d.mu.Lock()
	old := d.resident
	d.mu.Unlock()
	before := old.description()
	d.install(loaded)
	d.noteBeside(loaded, before.Name, before.Version, wire.ModelVersionStatus_UNLOADING, nil)
	old.finish(context.Background()) // no call outlives its scoring timeout
	old.end(stopping)
	d.noteBeside(loaded, before.Name, before.Version, wire.ModelVersionStatus_END, nil)
}

// Status tells the states of a model's versions.
func (d *Device) Status(name string, number *int64) ([]*wire.ModelVersionStatus, *refusal.Refusal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.versions
	if d.resident != nil && !d.resident.serves() {
		about := d.resident.description()
		known = append(versions{}, known...)
		known.set(about.Name, about.Version, wire.ModelVersionStatus_LOADING, d.resident.trouble())
	}
	if name == "" || name == d.settings.Name {
		name = d.modelName()
	}
	found := known.of(name, number)
	if len(found) == 0 {
		if number != nil && len(known.of(name, nil)) > 0 {
			return nil, refusal.New(codes.NotFound, "could not find version %d of model %q here", *number, name)
		}
		return nil, refusal.New(codes.NotFound, "could not find any versions of model %q here", name)
	}
	return found, nil
}

func (d *Device) modelName() string {
	if d.resident != nil {
		return d.resident.description().Name
	}
	return d.settings.ModelName
}

func (d *Device) note(name string, number int64, state wire.ModelVersionStatus_State, problem *refusal.Refusal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.versions.set(name, number, state, problem)
}

// noteBeside notes the state of a version, unless it is the one that `r` holds: that one still answers.
func (d *Device) noteBeside(
	r *resident, name string, number int64, state wire.ModelVersionStatus_State, problem *refusal.Refusal,
) {
	if about := r.description(); about.Name != name || about.Version != number {
		d.note(name, number, state, problem)
	}
}

// forget drops the entry of a model whose version was only guessed from its folder.
func (d *Device) forget(name string, number int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for index, known := range d.versions {
		if known.name == name && known.number == number && known.state == wire.ModelVersionStatus_LOADING {
			d.versions = append(d.versions[:index:index], d.versions[index+1:]...)
			return
		}
	}
}

// find resolves the folder to load and refuses whatever does not lie below model_root, links followed.
func (d *Device) find(wanted Wanted) (string, *refusal.Refusal) {
	if d.settings.ModelRoot == "" {
		return "", refusal.New(codes.FailedPrecondition,
			"this service does not swap its model; its setting model_root names the folder models may be loaded from")
	}
	absent := refusal.New(codes.NotFound, "there is no model at base_path below model_root; give the folder of a bundle, "+
		"or one with a folder per version")
	root, err := filepath.EvalSymlinks(d.settings.ModelRoot)
	if err != nil {
		return "", refusal.New(codes.FailedPrecondition, "the folder that model_root names is not there")
	}
	folder := wanted.Folder
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(root, folder)
	}
	if folder, err = filepath.EvalSymlinks(folder); err != nil {
		return "", absent
	}
	if !exists(filepath.Join(folder, bundleFile)) {
		if folder, err = newest(folder, wanted.Version); err != nil {
			return "", absent
		}
	}
	if folder, err = filepath.EvalSymlinks(folder); err != nil {
		return "", absent
	}
	if inside, err := filepath.Rel(root, folder); err != nil || inside == ".." || strings.HasPrefix(inside, "../") {
		return "", absent // as if it were not there: who asks learns nothing about other folders
	}
	return folder, nil
}

// newest is the folder of the highest version, or of the one that is wanted.
func newest(folder string, wanted *int64) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	best := int64(-1)
	name := ""
	for _, entry := range entries {
		number, err := strconv.ParseInt(entry.Name(), 10, 64)
		if err != nil || number < 0 || wanted != nil && number != *wanted {
			continue
		}
		if number > best && exists(filepath.Join(folder, entry.Name(), bundleFile)) {
			best, name = number, entry.Name()
		}
	}
	if name == "" {
		return "", os.ErrNotExist
	}
	return filepath.Join(folder, name), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// swapRefusal keeps a worker's message, which may name paths, for the log.
func swapRefusal(err error) *refusal.Refusal {
	var known *refusal.Refusal
	if errors.As(err, &known) {
		return known
	}
	refused := refusal.New(codes.Internal, "the new model could not be started; the service's log tells why")
	var failed *worker.LoadFailed
	if errors.As(err, &failed) && failed.ExitCode == 2 {
		refused = refusal.New(codes.InvalidArgument,
			"the new model cannot be served (%s); the service's log tells why", failed.Kind)
	}
	if errors.Is(err, context.Canceled) {
		refused = refusal.New(codes.Canceled, "the caller left before the new model was loaded")
	}
	refused.Detail = err.Error()
	return refused
}
