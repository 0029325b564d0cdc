package deviceplugin

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"accelform/front/telemetry"
)

// metrics are what the plugin counts.
type metrics struct {
	registry      *prometheus.Registry
	registered    prometheus.Gauge
	registrations prometheus.Counter
	allocated     *prometheus.CounterVec
	refused       prometheus.Counter
	deleted       prometheus.Counter
}

func newMetrics(of *fpgas, log *telemetry.Log) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "accelform", Subsystem: "device_plugin", Name: name, Help: help})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		registered: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "accelform", Subsystem: "device_plugin", Name: "registered", Help: "1 while the kubelet knows the plugin.",
		}),
		registrations: counter("registrations_total", "Registrations that the kubelet took."),
		allocated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "accelform", Subsystem: "device_plugin", Name: "allocations_total", Help: "Containers that got the FPGA.",
		}, []string{"fpga"}),
		refused: counter("refusals_total", "Containers that got none of the FPGAs they were to have."),
		deleted: counter("pods_deleted_total", "Deletions of pods on FPGAs that could not be used."),
	}
	m.registry.MustRegister(m.registered, m.registrations, m.allocated, m.refused, m.deleted, log.LostLines())
	all, _ := of.now()
	for _, each := range all {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "accelform", Name: "fpga_healthy", Help: "1 while the FPGA can be used.",
			ConstLabels: prometheus.Labels{"fpga": each.id},
		}, func() float64 {
			if found, _ := of.find(each.id); found.fault != "" {
				return 0
			}
			return 1
		}))
	}
	return m
}

// serve answers /metrics on all of the node's addresses; the server has to be closed.
func (m *metrics) serve(port int) (*http.Server, error) {
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	go server.Serve(listener)
	return server, nil
}
