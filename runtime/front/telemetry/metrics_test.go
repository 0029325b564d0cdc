package telemetry

import (
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"accelform/front/settings"
)

// scrape is what Prometheus reads: series to value.
func scrape(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest("GET", "/metrics", nil)
	// What Prometheus sends: it would take OpenMetrics first.
	request.Header.Set(
		"Accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
	)
	m.Handler().ServeHTTP(recorder, request)
	if recorder.Code != 200 {
		t.Fatalf("a scrape got %d: %s", recorder.Code, recorder.Body)
	}
	series := map[string]float64{}
	for line := range strings.SplitSeq(strings.TrimSpace(recorder.Body.String()), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			t.Fatalf("line %q of a scrape has no number: %v", line, err)
		}
		series[line[:at]] = value
	}
	return series
}

func expect(t *testing.T, series map[string]float64, wanted map[string]float64) {
	t.Helper()
	for name, value := range wanted {
		found, there := series[name]
		if !there {
			t.Errorf("series %s is not there", name)
		} else if found < value-1e-9 || found > value+1e-9 {
			t.Errorf("series %s is %v, not %v", name, found, value)
		}
	}
}

var scored = Call{
	Protocol: GRPC, Method: "Predict", Code: "OK", Took: 12 * time.Millisecond, Queued: 2 * time.Millisecond, Images: 3,
	ModelledLatencyMs: 1.78, ModelledQueueMs: 0.5, ModelledOccupancyMs: 1.5, RequestBytes: 1000, ReplyBytes: 50,
}

func TestACallThatWasScoredIsCountedWithItsTimes(t *testing.T) {
	m := NewMetrics(&settings.Settings{})
	m.Observe(scored)
	expect(t, scrape(t, m), map[string]float64{
		`accelform_requests_total{code="OK",method="Predict",protocol="grpc"}`:                    1,
		`accelform_request_duration_seconds_sum{method="Predict",protocol="grpc"}`:                0.012,
		`accelform_request_duration_seconds_bucket{method="Predict",protocol="grpc",le="0.01"}`:   0,
		`accelform_request_duration_seconds_bucket{method="Predict",protocol="grpc",le="0.015"}`:  1,
		`accelform_request_duration_seconds_bucket{method="Predict",protocol="grpc",le="0.0005"}`: 0,
		`accelform_request_duration_seconds_bucket{method="Predict",protocol="grpc",le="60"}`:     1,
		`accelform_queue_wait_seconds_sum`:                                                        0.002,
		`accelform_images_total`:                                                                  3,
		`accelform_fpga_modelled_latency_seconds_sum`:                                             0.00178,
		`accelform_fpga_modelled_queue_seconds_sum`:                                               0.0005,
		`accelform_fpga_modelled_occupancy_seconds_total`:                                         0.0015,
		`accelform_request_bytes_total{protocol="grpc"}`:                                          1000,
		`accelform_reply_bytes_total{protocol="grpc"}`:                                            50,
		`accelform_reply_bytes_total{protocol="http"}`:                                            0,
	})
}

func TestARefusedCallIsCountedButHasNoTimeInTheQueue(t *testing.T) {
	m := NewMetrics(&settings.Settings{})
	m.Observe(Call{Protocol: HTTP, Method: "Predict", Code: "UNAUTHENTICATED", Took: time.Millisecond})
	expect(t, scrape(t, m), map[string]float64{
		`accelform_requests_total{code="UNAUTHENTICATED",method="Predict",protocol="http"}`: 1,
		`accelform_queue_wait_seconds_count`:                                                0,
		`accelform_fpga_modelled_latency_seconds_count`:                                     0,
	})
}

func TestACallThatGaveUpInTheQueueCountsThere(t *testing.T) {
	m := NewMetrics(&settings.Settings{})
	m.Observe(Call{Protocol: GRPC, Method: "Predict", Code: "DEADLINE_EXCEEDED", Queued: time.Second, Took: time.Second})
	expect(t, scrape(t, m), map[string]float64{`accelform_queue_wait_seconds_count`: 1})
}

func TestWhateverClientsSendTheNumberOfSeriesStays(t *testing.T) {
	m := NewMetrics(&settings.Settings{})
	m.Resident(Resident{Name: "digits", Version: 3})
	m.Observe(Call{})
	m.Observe(Call{Protocol: HTTP, Method: "Predict"})
	before := len(scrape(t, m))
	for number := range 1000 {
		junk := fmt.Sprintf("junk-%d\n\"}", number)
		m.Observe(Call{Protocol: junk, Method: junk, Code: junk})
		m.Observe(Call{Protocol: HTTP, Method: "Predict", Code: junk})
		m.WorkerRestarted(junk)
	}
	series := scrape(t, m)
	if len(series) != before {
		t.Errorf("%d series became %d", before, len(series))
	}
	expect(t, series, map[string]float64{
		`accelform_requests_total{code="UNKNOWN",method="other",protocol="grpc"}`:   1001,
		`accelform_requests_total{code="UNKNOWN",method="Predict",protocol="http"}`: 1001,
		`accelform_worker_restarts_total{reason="other"}`:                           1000,
	})
}

func TestNegativeSizesFromABrokenCallDoNotPanic(t *testing.T) {
	m := NewMetrics(&settings.Settings{})
	m.Observe(Call{Method: "Predict", Code: "OK", Images: -1, RequestBytes: -1, ReplyBytes: -1, ModelledLatencyMs: 1,
		ModelledOccupancyMs: -1})
	expect(t, scrape(t, m), map[string]float64{`accelform_images_total`: 0})
}

func TestOnlyTheResidentModelIsTold(t *testing.T) {
	m := NewMetrics(&settings.Settings{})
	for series := range scrape(t, m) {
		if strings.HasPrefix(series, ":tensorflow") || strings.HasPrefix(series, "accelform_model_info") {
			t.Errorf("%s is there before a model", series)
		}
	}
	m.Resident(Resident{Name: "old", Version: 1, Engine: "native", NumberFormat: "float32", Bitstream: "none"})
	m.Observe(scored)
	m.Resident(Resident{
		Name: "digits", Version: 3, Engine: "native", NumberFormat: "bw-a10-cnn", Bitstream: "resnet50", LoadSeconds: 1.5,
	})
	m.Observe(scored)
	series := scrape(t, m)
	expect(t, series, map[string]float64{
		`accelform_model_info{bitstream="resnet50",engine="native",name="digits",number_format="bw-a10-cnn",version="3"}`: 1,
		`accelform_model_load_seconds`:                                       1.5,
		`:tensorflow:serving:request_count{model_name="digits",status="OK"}`: 1,
	})
	for name := range series {
		if strings.Contains(name, `"old"`) {
			t.Errorf("%s tells of a model that has left", name)
		}
	}
}

func TestANewVersionOfTheModelKeepsItsCounts(t *testing.T) {
	m := NewMetrics(&settings.Settings{})
	m.Resident(Resident{Name: "digits", Version: 1})
	m.Observe(scored)
	m.Resident(Resident{Name: "digits", Version: 2})
	expect(t, scrape(t, m), map[string]float64{`:tensorflow:serving:request_count{model_name="digits",status="OK"}`: 1})
}

func TestTensorflowServingsSeriesAreThereUnderItsNamesInMicroseconds(t *testing.T) {
	m := NewMetrics(&settings.Settings{})
	m.Resident(Resident{Name: "digits", Version: 3})
	m.Observe(scored)
	m.Observe(Call{Protocol: HTTP, Method: "Classify", Code: "INVALID_ARGUMENT", Took: time.Millisecond})
	m.Observe(Call{Protocol: GRPC, Method: "GetModelStatus", Code: "OK", Took: time.Millisecond})
	expect(t, scrape(t, m), map[string]float64{
		`:tensorflow:serving:request_count{model_name="digits",status="OK"}`:                                      1,
		`:tensorflow:serving:request_count{model_name="digits",status="INVALID_ARGUMENT"}`:                        1,
		`:tensorflow:serving:request_latency_sum{API="Predict",entrypoint="GRPC",model_name="digits"}`:            12000,
		`:tensorflow:serving:runtime_latency_sum{API="Predict",model_name="digits",runtime="accelform"}`:          10000,
		`:tensorflow:serving:request_latency_bucket{API="Predict",entrypoint="GRPC",model_name="digits",le="10"}`: 0,
		`:tensorflow:serving:request_latency_bucket{API="Predict",entrypoint="GRPC",model_name="digits",le="18"}`: 0,
	})
}

func TestGaugesAreReadAtEachScrape(t *testing.T) {
	m := NewMetrics(&settings.Settings{Service: settings.Service{SSLCertPEMFile: "cert.pem"}})
	waiting, serving, ends := 2, false, time.Unix(2_000_000_000, 0)
	m.Watch(
		func() int { return waiting }, func() int { return 3 }, func() bool { return serving },
		func() time.Time { return ends }, func() int { return 4 },
	)
	expect(t, scrape(t, m), map[string]float64{
		"accelform_queue_depth": 2, "accelform_calls_in_flight": 3, "accelform_serving": 0, "accelform_connections": 4,
		"accelform_certificate_expiry_timestamp_seconds": 2_000_000_000,
	})
	waiting, serving = 0, true
	expect(t, scrape(t, m), map[string]float64{"accelform_queue_depth": 0, "accelform_serving": 1})
}

func TestWithoutTLSThereIsNoExpiry(t *testing.T) {
	m := NewMetrics(&settings.Settings{})
	m.Watch(nil, nil, nil, time.Now, nil)
	if _, there := scrape(t, m)["accelform_certificate_expiry_timestamp_seconds"]; there {
		t.Error("a service without TLS tells of a certificate")
	}
}

func TestWhatHappensToTheWorkerAndTheModelIsCounted(t *testing.T) {
	m := NewMetrics(&settings.Settings{})
	m.WorkerRestarted("crash")
	m.WorkerRestarted("hang")
	m.Swapped(true)
	m.Swapped(false)
	m.Swapped(false)
	series := scrape(t, m)
	expect(t, series, map[string]float64{
		`accelform_worker_restarts_total{reason="crash"}`: 1,
		`accelform_worker_restarts_total{reason="hang"}`:  1,
		`accelform_model_swaps_total{outcome="done"}`:     1,
		`accelform_model_swaps_total{outcome="failed"}`:   2,
	})
	for _, name := range []string{"process_resident_memory_bytes", "process_open_fds", "go_goroutines"} {
		if series[name] == 0 {
			t.Errorf("%s is not told", name)
		}
	}
}

func TestCallsSwapsAndScrapesMayHappenAtOnce(t *testing.T) {
	m := NewMetrics(&settings.Settings{})
	var all sync.WaitGroup
	for at := range 4 {
		all.Go(func() {
			for number := range 200 {
				m.Observe(scored)
				if at == 0 {
					m.Resident(Resident{Name: []string{"a", "b"}[number%2], Version: int64(number)})
				}
			}
		})
	}
	for range 5 {
		scrape(t, m)
	}
	all.Wait()
	expect(t, scrape(t, m), map[string]float64{`accelform_images_total`: 2400})
}

func TestCodesHaveGRPCsOwnNames(t *testing.T) {
	for code, name := range map[codes.Code]string{
		codes.OK: "OK", codes.Canceled: "CANCELLED", codes.Unauthenticated: "UNAUTHENTICATED", codes.Code(99): "UNKNOWN",
	} {
		if found := CodeName(code); found != name {
			t.Errorf("code %d is called %s, not %s", code, found, name)
		}
	}
}
