package telemetry

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"accelform/front/settings"
)

// Seconds, from half a millisecond to the longest that a call may take by default.
var durationBuckets = []float64{
	0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
}

// Scrapes at once; more are told to come again, so that scraping cannot take the cores from the model.
const scrapesAtOnce = 4

var protocols = [...]string{GRPC, HTTP}

// Metrics counts what the service does, in a registry of its own. All methods may be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry
	tls      bool

	requestsBy   *prometheus.CounterVec
	durationsBy  *prometheus.HistogramVec
	requests     [len(protocols)][len(Methods)][len(codeNames)]lazily[prometheus.Counter]
	durations    [len(protocols)][len(Methods)]lazily[prometheus.Observer]
	requestBytes [len(protocols)]prometheus.Counter
	replyBytes   [len(protocols)]prometheus.Counter

	queueWait       prometheus.Histogram
	images          prometheus.Counter
	modelledLatency prometheus.Histogram
	modelledQueue   prometheus.Histogram
	occupancy       prometheus.Counter

	crashes, hangs, otherRestarts prometheus.Counter
	swapsDone, swapsFailed        prometheus.Counter
	model                         *residentGauges
	tensorflow                    *tensorflowMetrics
}

// NewMetrics makes the counters that do not depend on the model, at zero: an alert on a rate then also sees the first
// error. Histograms by method come with their first call, since each has two dozen series.
func NewMetrics(s *settings.Settings) *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m := &Metrics{registry: registry, tls: s.SSLCertPEMFile != ""}
	m.makeCalls(s.HTTPEnabled)
	m.queueWait = m.histogram("accelform_queue_wait_seconds", "Time that calls waited for the FPGA.")
	m.images = m.counter("accelform_images_total", "Images that were scored.")
	m.modelledLatency = m.histogram(
		"accelform_fpga_modelled_latency_seconds", "Latency that the FPGA's model gives for a call.",
	)
	m.modelledQueue = m.histogram(
		"accelform_fpga_modelled_queue_seconds", "Time that a call would wait for a real FPGA, by the FPGA's model.",
	)
	m.occupancy = m.counter(
		"accelform_fpga_modelled_occupancy_seconds_total", "Time that calls would occupy the FPGA, by the FPGA's model.",
	)
	restarts := m.counters("accelform_worker_restarts_total", "Times that the model's process was started anew.", "reason")
	m.crashes, m.hangs = restarts.WithLabelValues("crash"), restarts.WithLabelValues("hang")
	m.otherRestarts = restarts.WithLabelValues(Other)
	swaps := m.counters("accelform_model_swaps_total", "Times that another model was asked for.", "outcome")
	m.swapsDone, m.swapsFailed = swaps.WithLabelValues("done"), swaps.WithLabelValues("failed")
	m.model = newResidentGauges(registry)
	m.tensorflow = newTensorflowMetrics(registry)
	return m
}

func (m *Metrics) makeCalls(http bool) {
	m.requestsBy = m.counters(
		"accelform_requests_total", "Calls that have their answer, refused ones too.", "protocol", "method", "code",
	)
	m.durationsBy = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "accelform_request_duration_seconds",
		Help:    "Time from a call's arrival to its answer.",
		Buckets: durationBuckets,
	}, []string{"protocol", "method"})
	m.registry.MustRegister(m.durationsBy)
	received := m.counters("accelform_request_bytes_total", "Bytes of request messages.", "protocol")
	sent := m.counters("accelform_reply_bytes_total", "Bytes of reply messages.", "protocol")
	for p, protocol := range protocols {
		m.requestBytes[p], m.replyBytes[p] = received.WithLabelValues(protocol), sent.WithLabelValues(protocol)
		if protocol == HTTP && !http {
			continue
		}
		for method := range Methods {
			for code := range codeNames {
				m.count(p, method, code)
			}
		}
	}
}

func (m *Metrics) count(protocol, method, code int) prometheus.Counter {
	place := &m.requests[protocol][method][code]
	if series, there := place.made(); there {
		return series
	}
	return place.keep(m.requestsBy.WithLabelValues(protocols[protocol], Methods[method], codeNames[code]))
}

func (m *Metrics) duration(protocol, method int) prometheus.Observer {
	place := &m.durations[protocol][method]
	if series, there := place.made(); there {
		return series
	}
	return place.keep(m.durationsBy.WithLabelValues(protocols[protocol], Methods[method]))
}

// Observe counts one call.
func (m *Metrics) Observe(c Call) {
	protocol, method, code := c.place()
	m.count(protocol, method, code).Inc()
	m.duration(protocol, method).Observe(c.Took.Seconds())
	m.requestBytes[protocol].Add(float64(max(c.RequestBytes, 0)))
	m.replyBytes[protocol].Add(float64(max(c.ReplyBytes, 0)))
	if method >= inferences {
		return
	}
	// A call that was refused at the door never stood in the queue and would pull its times down.
	if code == 0 || c.Queued > 0 {
		m.queueWait.Observe(c.Queued.Seconds())
	}
	m.images.Add(float64(max(c.Images, 0)))
	if c.ModelledLatencyMs > 0 {
		m.modelledLatency.Observe(c.ModelledLatencyMs / 1000)
		m.modelledQueue.Observe(c.ModelledQueueMs / 1000)
		m.occupancy.Add(max(c.ModelledOccupancyMs, 0) / 1000)
	}
	m.tensorflow.observe(protocol, method, code, &c)
}

// WorkerRestarted counts a start of the model's process that replaces one that had ended; reasons are crash and hang.
func (m *Metrics) WorkerRestarted(reason string) {
	switch reason {
	case "crash":
		m.crashes.Inc()
	case "hang":
		m.hangs.Inc()
	default:
		m.otherRestarts.Inc()
	}
}

// Swapped counts a change of the resident model, or that it failed and the old one stays.
func (m *Metrics) Swapped(ok bool) {
	if ok {
		m.swapsDone.Inc()
	} else {
		m.swapsFailed.Inc()
	}
}

// Handler answers scrapes in Prometheus's text form. OpenMetrics is not offered: it would rename the counters that
// TensorFlow Serving's dashboards ask for.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesAtOnce,
		Timeout:             10 * time.Second,
		ErrorHandling:       promhttp.ContinueOnError,
	})
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	made := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(made)
	return made
}

func (m *Metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	made := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(made)
	return made
}

func (m *Metrics) histogram(name, help string) prometheus.Histogram {
	made := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: durationBuckets})
	m.registry.MustRegister(made)
	return made
}
