package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"accelform/front/device"
	"accelform/front/intake"
	"accelform/front/refusal"
	"accelform/front/rest"
	"accelform/front/security"
	"accelform/front/service"
	"accelform/front/settings"
	"accelform/front/telemetry"
	"accelform/front/worker"
)

// closeTime is what replies on their way out get when all calls are answered.
const closeTime = time.Second

// served is a service from its first port to its last call.
type served struct {
	settings *settings.Settings
	log      *telemetry.Log
	traces   *telemetry.Traces
	device   *device.Device
	server   *service.Server
	http     *http.Server    // nil: there is no side door
	probes   *service.Probes // nil: nobody probes
	// listeners are those of gRPC and of HTTP.
	listeners []net.Listener
}

// open takes the ports and answers health checks from then on; no model is loaded yet.
func open(s *settings.Settings, log *telemetry.Log) (*served, error) {
	guard, err := security.NewGuard(s, log)
	if err != nil {
		return nil, err
	}
	certificates, err := security.NewCertificates(s, log)
	if err != nil {
		return nil, err
	}
	traces, err := telemetry.NewTraces(context.Background(), s, s.RuntimeVersion)
	if err != nil {
		return nil, err
	}
	traces.ReportTo(log)
	opened := &served{settings: s, log: log, traces: traces}
	metrics := telemetry.NewMetrics(s)
	metrics.WatchLog(log)
	opened.device = device.New(s, log, metrics, func() { opened.server.Update() })
	ledger := intake.NewLedger(s.ReceivedBytes())
	opened.server = service.New(service.Parts{
		Settings: s, Log: log, Metrics: metrics, Traces: traces, Guard: guard, Device: opened.device, Ledger: ledger,
		Certificates: certificates,
	})
	var notAfter func() time.Time
	if certificates != nil {
		notAfter = certificates.NotAfter
	}
	listener, err := security.Listen(s.ListenAddress, s.Port, s.MaxConnections)
	if err != nil {
		return nil, err
	}
	opened.listeners = append(opened.listeners, listener)
	if s.HTTPEnabled {
		if err := opened.openHTTP(guard, ledger, certificates, metrics); err != nil {
			listener.Close()
			return nil, err
		}
	}
	if s.HealthPort != 0 {
		if err := opened.openProbes(); err != nil {
			for _, taken := range opened.listeners {
				taken.Close()
			}
			return nil, err
		}
	}
	metrics.Watch(opened.device.Waiting, opened.server.InFlight, opened.server.Ready, notAfter, opened.connections)
	go opened.server.Serve(listener)
	log.Write("listening", "address", s.ListenAddress, "port", portOf(listener), "authentication", guard.Describe(),
		"tls", certificates != nil)
	return opened, nil
}

func (o *served) openHTTP(
	guard *security.Guard, ledger *intake.Ledger, certificates *security.Certificates, metrics *telemetry.Metrics,
) error {
	listener, err := security.Listen(o.settings.ListenAddress, o.settings.HTTPPort, o.settings.MaxConnections)
	if err != nil {
		return err
	}
	handler := o.sendingAway(rest.New(rest.Deps{
		Settings: o.settings, Ledger: ledger, Log: o.log, Metrics: metrics, Traces: o.traces, Admit: guard.Admit,
		Ready: o.server.Ready, Live: o.server.Live,
		Status: o.server.Status, Metadata: o.server.Metadata, Score: o.server.ScoreHTTP,
	}))
	if certificates != nil {
		o.http = rest.NewServer(handler, certificates.Config("http/1.1"), o.settings)
		go o.http.ServeTLS(listener, "", "")
	} else {
		o.http = rest.NewServer(handler, nil, o.settings)
		go o.http.Serve(listener)
	}
	o.listeners = append(o.listeners, listener)
	o.log.Write("listening_http", "address", o.settings.ListenAddress, "port", portOf(listener))
	return nil
}

// sendingAway ends a connection with its next answer once the service is about to stop: HTTP has no other way to send a
// client elsewhere before it asks again.
func (o *served) sendingAway(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if o.server.Leaving() {
			answer.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(answer, request)
	})
}

func (o *served) openProbes() error {
	listener, err := security.Listen(o.settings.ListenAddress, o.settings.HealthPort, service.ProbeConnections)
	if err != nil {
		return err
	}
	o.probes = o.server.NewProbes()
	go o.probes.Serve(listener)
	o.log.Write("listening_health", "address", o.settings.ListenAddress, "port", portOf(listener))
	return nil
}

// live loads the model, serves until a signal asks it to stop, and finishes what it has accepted.
func (o *served) live(ctx context.Context, signals <-chan os.Signal) error {
	loading, cancel := context.WithCancel(ctx)
	defer cancel()
	loaded := make(chan error, 1)
	go func() { loaded <- o.device.Load(loading) }()
	for waiting := true; waiting; {
		select {
		case err := <-loaded:
			if err != nil {
				o.close()
				return err
			}
			loaded = nil
		case <-signals:
			waiting = false
		}
	}
	cancel()
	lameDuck := settings.Seconds(o.settings.LameDuckSeconds)
	if loaded != nil {
		<-loaded
		lameDuck = 0 // nobody was ever sent here
	}
	o.drain(signals, lameDuck)
	return nil
}

// drain: health says NOT_SERVING, everything goes on for the time of a lame duck, then clients are asked to go elsewhere
// and the calls that were taken get drain_seconds. A second signal ends the waiting.
func (o *served) drain(signals <-chan os.Signal, lameDuck time.Duration) {
	o.server.NotServing()
	o.log.Write("draining", "calls", o.server.InFlight(), "lame_duck_seconds", lameDuck.Seconds(),
		"drain_seconds", o.settings.DrainSeconds)
	impatient, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-signals:
			o.log.Write("hurried")
			cancel()
		case <-impatient.Done():
		}
	}()
	select {
	case <-impatient.Done():
	case <-time.After(lameDuck):
	}
	limited, done := context.WithTimeout(impatient, settings.Seconds(o.settings.DrainSeconds))
	defer done()
	o.device.LoadNoMore() // a swap is a call too, and nobody will need its model
	left := o.server.Leave()
	if o.http != nil {
		_ = o.http.Shutdown(limited)
	}
	select {
	case <-left:
	case <-limited.Done():
	}
	o.device.Drain(limited)
	if calls := o.server.InFlight(); limited.Err() != nil && calls > 0 {
		o.log.Write("abandoned", "calls", calls)
	}
	o.close()
}

func (o *served) close() {
	o.device.Close()
	o.server.Stop(closeTime)
	if o.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		if o.http.Shutdown(ctx) != nil {
			o.http.Close()
		}
	}
	if o.probes != nil {
		o.probes.Stop()
	}
	o.traces.Close(context.Background())
}

// fail is the service's last line: what failed, and who can do something about it.
func fail(log *telemetry.Log, err error) int {
	kind, code := "RuntimeFailed", 1
	var unusable *security.Unusable
	var failed *worker.LoadFailed
	var refused *refusal.Refusal
	switch {
	case errors.As(err, &unusable):
		kind, code = unusable.Kind, 2
	case errors.As(err, &refused):
		kind = "ModelNotLoaded"
	case errors.As(err, &failed):
		kind, code = failed.Kind, failed.ExitCode
	}
	log.Write("error", "kind", kind, "message", err.Error(), "exit_code", code)
	return code
}

// connections is how many are open, gRPC and HTTP.
func (o *served) connections() int {
	open := 0
	for _, listener := range o.listeners {
		if counting, ok := listener.(interface{ Open() int }); ok {
			open += counting.Open()
		}
	}
	return open
}

func portOf(listener net.Listener) int {
	if address, ok := listener.Addr().(*net.TCPAddr); ok {
		return address.Port
	}
	return 0
}
