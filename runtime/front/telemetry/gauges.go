package telemetry

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Resident is the model that the FPGA holds.
type Resident struct {
	Name                            string
	Version                         int64
	Engine, NumberFormat, Bitstream string
	LoadSeconds                     float64
}

type residentGauges struct {
	lock sync.Mutex
	info *prometheus.GaugeVec
	load prometheus.Gauge
}

func newResidentGauges(registry *prometheus.Registry) *residentGauges {
	made := &residentGauges{
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "accelform_model_info", Help: "The resident model; the value is always 1.",
		}, []string{"name", "version", "engine", "number_format", "bitstream"}),
		load: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "accelform_model_load_seconds", Help: "Time that the resident model took to load and warm up.",
		}),
	}
	registry.MustRegister(made.info, made.load)
	return made
}

// Resident tells of the model that now answers; what was said of the one before is taken back.
func (m *Metrics) Resident(about Resident) {
	version := strconv.FormatInt(about.Version, 10)
	m.model.lock.Lock()
	defer m.model.lock.Unlock()
	m.model.info.Reset()
	m.model.info.WithLabelValues(about.Name, version, about.Engine, about.NumberFormat, about.Bitstream).Set(1)
	m.model.load.Set(about.LoadSeconds)
	m.tensorflow.serve(about.Name)
}

// Watch names what is read at each scrape; nil leaves a gauge out, and so does a service without TLS the expiry of
// its certificate. It is called once.
func (m *Metrics) Watch(
	depth func() int, inFlight func() int, serving func() bool, notAfter func() time.Time, connections func() int,
) {
	number := func(name, help string, read func() int) {
		if read != nil {
			m.gauge(name, help, func() float64 { return float64(read()) })
		}
	}
	number("accelform_queue_depth", "Calls that wait for the FPGA.", depth)
	number("accelform_calls_in_flight", "Calls that have been taken in and have no answer yet.", inFlight)
	number("accelform_connections", "Open connections, gRPC and HTTP.", connections)
	if serving != nil {
		m.gauge("accelform_serving", "1 while the service takes calls, otherwise 0.", func() float64 {
			if serving() {
				return 1
			}
			return 0
		})
	}
	if m.tls && notAfter != nil {
		m.gauge("accelform_certificate_expiry_timestamp_seconds", "When the certificate in use expires.", func() float64 {
			return float64(notAfter().Unix())
		})
	}
}

// WatchLog counts the lines that the log lost.
func (m *Metrics) WatchLog(log *Log) { m.registry.MustRegister(log.LostLines()) }

// LostLines counts the lines that the log lost, for a registry of metrics.
func (l *Log) LostLines() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "accelform_log_lines_lost_total", Help: "Lines of the log that were lost because nobody took them.",
	}, func() float64 { return float64(l.Lost()) })
}

func (m *Metrics) gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}
