package deviceplugin

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	kubelet "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"accelform/front/telemetry"
)

// registrations takes those of plugins.
type registrations struct {
	kubelet.UnimplementedRegistrationServer
	endpoints chan<- string
}

func (r *registrations) Register(_ context.Context, request *kubelet.RegisterRequest) (*kubelet.Empty, error) {
	r.endpoints <- request.Endpoint
	return &kubelet.Empty{}, nil
}

// registry is a kubelet that takes registrations, on a socket in `folder`.
func registry(t *testing.T, folder string, registered chan<- string) *grpc.Server {
	t.Helper()
	path := filepath.Join(folder, "kubelet.sock")
	os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	kubelet.RegisterRegistrationServer(server, &registrations{endpoints: registered})
	go server.Serve(listener)
	return server
}

// FPGAs break and heal, containers come, a kubelet restarts and the plugin stops, all at once; each watcher ends with the
// state that the files have. The race detector looks on.
func TestManyThingsAtOnce(t *testing.T) {
	folder := t.TempDir()
	if len(folder) > 60 {
		var err error
		if folder, err = os.MkdirTemp("/tmp", "plugin"); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(folder)
	}
	options, err := parse([]string{"--count", "4", "--devices-folder", filepath.Join(folder, "fpga"), "--kubelet-folder", folder,
		"--pod-resources-socket", filepath.Join(folder, "none.sock")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	options.look = 5 * time.Millisecond
	registered := make(chan string, 100)
	first := registry(t, folder, registered)
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- run(ctx, options, telemetry.NewLog(io.Discard)) }()
	<-registered
	connection, err := dial(options.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()

	var busy sync.WaitGroup
	fault := filepath.Join(options.DevicesFolder, "fpga-3", faultFile)
	busy.Go(func() {
		for range 50 {
			os.WriteFile(fault, []byte("hot"), 0o600)
			time.Sleep(2 * time.Millisecond)
			os.Remove(fault)
			time.Sleep(2 * time.Millisecond)
		}
		os.WriteFile(fault, []byte("hot"), 0o600)
	})
	for _, id := range []string{"fpga-0", "fpga-1", "fpga-2", "fpga-3"} {
		busy.Go(func() {
			request := &kubelet.AllocateRequest{ContainerRequests: []*kubelet.ContainerAllocateRequest{{DevicesIds: []string{id}}}}
			for range 30 {
				if _, err := kubelet.NewDevicePluginClient(connection).Allocate(ctx, request); err != nil && id != "fpga-3" {
					t.Errorf("%s: %s", id, err)
				}
			}
		})
	}
	busy.Wait()

	first.Stop()
	again := registry(t, folder, registered)
	defer again.Stop()
	<-registered
	if health := lastHealth(t, ctx, options.socket()); health != kubelet.Unhealthy {
		t.Errorf("fpga-3 is told as %s", health)
	}
	stop()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(options.socket()); err == nil {
		t.Error("the socket is left")
	}
}

// lastHealth is what a new watcher is told of the last FPGA within a moment.
func lastHealth(t *testing.T, ctx context.Context, socket string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	connection, err := dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	stream, err := kubelet.NewDevicePluginClient(connection).ListAndWatch(ctx, &kubelet.Empty{}, grpc.WaitForReady(true))
	for health := ""; err == nil; {
		var list *kubelet.ListAndWatchResponse
		if list, err = stream.Recv(); err != nil || len(list.Devices) != 4 {
			t.Fatalf("%d FPGAs, %v", len(list.GetDevices()), err)
		}
		if health = list.Devices[3].Health; health == kubelet.Unhealthy {
			return health
		}
	}
	t.Fatal(err)
	return ""
}
