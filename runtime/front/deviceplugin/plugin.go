// Package deviceplugin makes a node's emulated FPGAs known to its kubelet, hands them to containers, and takes those
// that fail out of service. It speaks version v1beta1 of the kubelet's device plugin API.
package deviceplugin

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	kubelet "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"accelform/front/telemetry"
)

// plugin answers the kubelet.
type plugin struct {
	options *Options
	log     *telemetry.Log
	fpgas   *fpgas
	metrics *metrics
	deleted map[string]string // the pod that was deleted last, by FPGA

	telling sync.Mutex
	told    map[string]string // what goes wrong, by what it concerns

	mu      sync.Mutex
	streams int       // lists that the kubelet watches
	lone    time.Time // since when there is none
}

// watched is whether the kubelet watches the list, or since when it does not.
func (p *plugin) watched() (bool, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.streams > 0, p.lone
}

func (p *plugin) count(by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams += by
	p.lone = time.Now()
}

// server serves the API. Lists end when closing is closed.
func (p *plugin) server(closing <-chan struct{}) *grpc.Server {
	made := grpc.NewServer()
	kubelet.RegisterDevicePluginServer(made, &api{plugin: p, closing: closing})
	return made
}

// api is what the kubelet calls.
type api struct {
	kubelet.UnimplementedDevicePluginServer
	plugin  *plugin
	closing <-chan struct{}
}

// ListAndWatch sends the whole list now and after each change.
func (a *api) ListAndWatch(_ *kubelet.Empty, stream grpc.ServerStreamingServer[kubelet.ListAndWatchResponse]) error {
	a.plugin.count(1)
	defer a.plugin.count(-1)
	for {
		all, changed := a.plugin.fpgas.now()
		list := &kubelet.ListAndWatchResponse{}
		for _, each := range all {
			state := kubelet.Healthy
			if each.fault != "" {
				state = kubelet.Unhealthy
			}
			list.Devices = append(list.Devices, &kubelet.Device{ID: each.id, Health: state})
		}
		if err := stream.Send(list); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-a.closing:
			return nil
		case <-stream.Context().Done():
			return nil
		}
	}
}

// Allocate gives each container its FPGA; one that cannot have it fails all.
func (a *api) Allocate(ctx context.Context, request *kubelet.AllocateRequest) (*kubelet.AllocateResponse, error) {
	answer := &kubelet.AllocateResponse{}
	for _, container := range request.GetContainerRequests() {
		made, err := a.plugin.allocate(ctx, container.GetDevicesIds())
		if err != nil {
			a.plugin.metrics.refused.Inc()
			a.plugin.log.Write("refused", "fpgas", container.GetDevicesIds(), "message", err.Error())
			return nil, err
		}
		a.plugin.metrics.allocated.WithLabelValues(made.Envs[idVariable]).Inc()
		a.plugin.log.Write("allocated", "fpga", made.Envs[idVariable])
		answer.ContainerResponses = append(answer.ContainerResponses, made)
	}
	return answer, nil
}

// GetDevicePluginOptions says that the two calls below need not be made.
func (*api) GetDevicePluginOptions(context.Context, *kubelet.Empty) (*kubelet.DevicePluginOptions, error) {
	return &kubelet.DevicePluginOptions{}, nil
}

// GetPreferredAllocation leaves the choice to the kubelet: one FPGA is like another.
func (*api) GetPreferredAllocation(
	context.Context, *kubelet.PreferredAllocationRequest,
) (*kubelet.PreferredAllocationResponse, error) {
	return &kubelet.PreferredAllocationResponse{}, nil
}

// PreStartContainer has nothing to do: Allocate has made the FPGA ready.
func (*api) PreStartContainer(
	context.Context, *kubelet.PreStartContainerRequest,
) (*kubelet.PreStartContainerResponse, error) {
	return &kubelet.PreStartContainerResponse{}, nil
}
