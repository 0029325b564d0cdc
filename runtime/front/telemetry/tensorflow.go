package telemetry

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// What TensorFlow Serving calls the ways in.
var entrypoints = [...]string{"GRPC", "REST"}

// tensorflowMetrics are the series of TensorFlow Serving that mean the same here, under its names and in its unit,
// microseconds, so that dashboards made for it go on. They exist for the resident model only.
type tensorflowMetrics struct {
	lock    sync.RWMutex
	count   *prometheus.CounterVec
	request *prometheus.HistogramVec
	runtime *prometheus.HistogramVec
	now     *tensorflowSeries
}

type tensorflowSeries struct {
	model   string
	count   [len(codeNames)]prometheus.Counter
	request [len(entrypoints)][inferences]lazily[prometheus.Observer]
	runtime [inferences]lazily[prometheus.Observer]
}

func newTensorflowMetrics(registry *prometheus.Registry) *tensorflowMetrics {
	// TensorFlow Serving's own buckets: 10 microseconds, and 1.8 times the one before.
	buckets := prometheus.ExponentialBuckets(10, 1.8, 33)
	made := &tensorflowMetrics{
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: ":tensorflow:serving:request_count", Help: "Calls to the model, by the status they ended with.",
		}, []string{"model_name", "status"}),
		request: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    ":tensorflow:serving:request_latency",
			Help:    "Microseconds from the arrival of a call that succeeded to its answer.",
			Buckets: buckets,
		}, []string{"model_name", "API", "entrypoint"}),
		runtime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    ":tensorflow:serving:runtime_latency",
			Help:    "Microseconds from the moment a call that succeeded left the queue to its answer.",
			Buckets: buckets,
		}, []string{"model_name", "API", "runtime"}),
	}
	registry.MustRegister(made.count, made.request, made.runtime)
	return made
}

// serve makes the series of the resident model and drops those of another one.
func (t *tensorflowMetrics) serve(model string) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.now != nil && t.now.model == model {
		return
	}
	t.count.Reset()
	t.request.Reset()
	t.runtime.Reset()
	t.now = &tensorflowSeries{model: model}
	for number, code := range codeNames {
		t.now.count[number] = t.count.WithLabelValues(model, code)
	}
}

// observe holds the lock while it counts, so that a call of the model before does not bring its series back.
func (t *tensorflowMetrics) observe(protocol, method, code int, c *Call) {
	t.lock.RLock()
	defer t.lock.RUnlock()
	if t.now == nil {
		return
	}
	t.now.count[code].Inc()
	if code != 0 {
		return
	}
	place := &t.now.request[protocol][method]
	whole, there := place.made()
	if !there {
		whole = place.keep(t.request.WithLabelValues(t.now.model, Methods[method], entrypoints[protocol]))
	}
	whole.Observe(float64(c.Took.Microseconds()))
	place = &t.now.runtime[method]
	computed, there := place.made()
	if !there {
		computed = place.keep(t.runtime.WithLabelValues(t.now.model, Methods[method], "accelform"))
	}
	computed.Observe(float64((c.Took - c.Queued).Microseconds()))
}
