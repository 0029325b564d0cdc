// Package device is the FPGA as the service sees it: one resident model, one line of calls in front of it.
package device

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"accelform/front/refusal"
	"accelform/front/settings"
	"accelform/front/telemetry"
	"accelform/front/wire"
	"accelform/front/worker"
)

// A hang is longer than any call may take, by this much, unless the settings name another limit.
const hangMargin = 5 * time.Second

// Device holds the resident model and, while another one is loaded, makes room for it.
type Device struct {
	settings *settings.Settings
	log      *telemetry.Log
	metrics  *telemetry.Metrics
	limits   limits
	changed  func()
	ids      atomic.Uint64
	swapping sync.Mutex      // one swap at a time
	life     context.Context // ends with the first Drain or Close; no other model is loaded after it
	end      context.CancelFunc

	mu       sync.Mutex
	resident *resident
	versions versions
	draining bool
}

// New makes a device without a model. `changed` is called whenever Serving may have changed.
func New(s *settings.Settings, log *telemetry.Log, metrics *telemetry.Metrics, changed func()) *Device {
	life, end := context.WithCancel(context.Background())
	return &Device{
		life:     life,
		end:      end,
		settings: s,
		log:      log,
		metrics:  metrics,
		changed:  changed,
		limits: limits{
			queue: s.ReplicaMaxConcurrentRequests - 1,
			wait:  settings.Milliseconds(s.MaxRequestWaitTimeMs),
			total: settings.Milliseconds(s.ScoringTimeoutMs),
		},
	}
}

// Load makes the model in ModelDir resident and returns once it is warm.
func (d *Device) Load(ctx context.Context) error {
	d.mu.Lock()
	d.versions.set(d.settings.ModelName, d.settings.ModelVersion, wire.ModelVersionStatus_LOADING, nil)
	d.mu.Unlock()
	deployed := d.config(d.settings.ModelDir, nil)
	deployed.load.BundleSHA256 = d.settings.BundleSHA256
	loaded, err := load(ctx, deployed)
	if err != nil {
		return err
	}
	d.install(loaded)
	return nil
}

// Score answers one call; the receiver frees the answer's body.
func (d *Device) Score(ctx context.Context, call Call) (*Answer, *refusal.Refusal) {
	for {
		r, refused := d.current()
		if refused != nil {
			call.Message.Free()
			return nil, refused
		}
		call.Message.Ref()
		answer, refused := r.score(ctx, d.ids.Add(1), call, d.limits)
		if refused != nil && d.replaced(r, refused) {
			continue // it was closed for a swap between two steps: the new resident answers
		}
		call.Message.Free()
		return answer, refused
	}
}

func (d *Device) current() (*resident, *refusal.Refusal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining {
		return nil, stopping
	}
	if d.resident == nil {
		return nil, Loading()
	}
	return d.resident, nil
}

func (d *Device) replaced(r *resident, refused *refusal.Refusal) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return refused == stopping && d.resident != r && !d.draining
}

// Serving tells whether a warm model waits for calls.
func (d *Device) Serving() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.resident != nil && d.resident.serves() && !d.draining
}

// Stuck tells whether the model's process cannot be started anew, as far as anybody can tell from within.
func (d *Device) Stuck() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.resident != nil && d.resident.stuck()
}

// About is the resident model; nil: there is none yet.
func (d *Device) About() *worker.About {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.resident == nil {
		return nil
	}
	return d.resident.description()
}

// Waiting is the number of calls that wait for their turn.
func (d *Device) Waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.resident == nil {
		return 0
	}
	return d.resident.depth()
}

// LoadNoMore ends what loads another model, and lets none begin; the resident one goes on.
func (d *Device) LoadNoMore() { d.end() }

// Drain turns new calls away and returns once no call is left, or when ctx ends.
func (d *Device) Drain(ctx context.Context) {
	d.end()
	d.mu.Lock()
	d.draining = true
	r := d.resident
	d.mu.Unlock()
	if r != nil {
		r.finish(ctx)
	}
}

// Close ends the model's process; calls that are left end with UNAVAILABLE.
func (d *Device) Close() {
	d.end()
	d.mu.Lock()
	d.draining = true
	r := d.resident
	d.mu.Unlock()
	if r != nil {
		r.end(refusal.New(codes.Unavailable, "the service stopped before this call's turn came; ask again"))
	}
}

func (d *Device) install(loaded *resident) {
	about := loaded.description()
	d.mu.Lock()
	d.resident = loaded
	d.versions.set(about.Name, about.Version, wire.ModelVersionStatus_AVAILABLE, nil)
	d.mu.Unlock()
	d.metrics.Resident(telemetry.Resident{
		Name:         about.Name,
		Version:      about.Version,
		Engine:       about.Engine,
		NumberFormat: about.NumberFormat,
		Bitstream:    about.Bitstream,
		LoadSeconds:  about.LoadMs / 1000,
	})
	d.log.Write("serving",
		"model", about.Name,
		"version", about.Version,
		"threads", about.Threads,
		"load_ms", about.LoadMs,
		"engine", about.Engine,
		"engine_reason", about.EngineReason,
		"number_format", about.NumberFormat,
		"bitstream", about.Bitstream,
		"worker", about.PID)
	d.changed()
}

func (d *Device) config(folder string, labels map[string]int64) config {
	hang := settings.Milliseconds(d.settings.HangTimeoutMs)
	if hang == 0 {
		hang = d.limits.total + hangMargin
	}
	return config{
		command: d.settings.WorkerCommand,
		load: worker.LoadMeta{
			ModelDir:             folder,
			Threads:              d.settings.Threads,
			Engine:               d.settings.Engine,
			Service:              d.settings.Name,
			StrictModelSpec:      d.settings.StrictModelSpec,
			TensorContentReplies: d.settings.TensorContentReplies,
			VersionLabels:        labels,
		},
		loadTimeout: settings.Seconds(d.settings.InitialDelaySeconds),
		hang:        hang,
		log:         d.log,
		changed:     d.changed,
		restarted:   d.metrics.WorkerRestarted,
	}
}

// Labels are the version labels of the resident model.
func (d *Device) Labels() map[string]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.resident == nil {
		return nil
	}
	return d.resident.load.VersionLabels
}
