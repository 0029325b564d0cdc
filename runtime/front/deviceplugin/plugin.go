// Package deviceplugin makes a node's emulated FPGAs known to its kubelet, hands them to containers, and takes those
// that fail out of service. It speaks version v1beta1 of the kubelet's device plugin API.
package deviceplugin

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	"accelform/front/kubelet"
	"accelform/front/telemetry"
)

const (
	apiVersion = "v1beta1"
	healthy    = "Healthy"
	unhealthy  = "Unhealthy"
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

// listAndWatch sends the whole list now and after each change.
func (p *plugin) listAndWatch(stream grpc.ServerStreamingServer[kubelet.ListAndWatchResponse], closing <-chan struct{}) error {
	p.count(1)
	defer p.count(-1)
	for {
		all, changed := p.fpgas.now()
		list := &kubelet.ListAndWatchResponse{}
		for _, each := range all {
			state := healthy
			if each.fault != "" {
				state = unhealthy
			}
			list.Devices = append(list.Devices, &kubelet.Device{ID: each.id, Health: state})
		}
		if err := stream.Send(list); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-closing:
			return nil
		case <-stream.Context().Done():
			return nil
		}
	}
}

// allocateAll answers an Allocate; one container that cannot have its FPGA fails all.
func (p *plugin) allocateAll(ctx context.Context, request *kubelet.AllocateRequest) (*kubelet.AllocateResponse, error) {
	answer := &kubelet.AllocateResponse{}
	for _, container := range request.GetContainerRequests() {
		made, err := p.allocate(ctx, container.GetDevicesIds())
		if err != nil {
			p.metrics.refused.Inc()
			p.log.Write("refused", "fpgas", container.GetDevicesIds(), "message", err.Error())
			return nil, err
		}
		p.metrics.allocated.WithLabelValues(made.Envs[idVariable]).Inc()
		p.log.Write("allocated", "fpga", made.Envs[idVariable])
		answer.ContainerResponses = append(answer.ContainerResponses, made)
	}
	return answer, nil
}

// server serves the API. Lists end when closing is closed.
func (p *plugin) server(closing <-chan struct{}) *grpc.Server {
	made := grpc.NewServer()
	made.RegisterService(&grpc.ServiceDesc{
		ServiceName: "v1beta1.DevicePlugin",
		HandlerType: (*any)(nil),
		Metadata:    "kubelet_devices.proto",
		Methods: []grpc.MethodDesc{
			method("GetDevicePluginOptions", func(context.Context, *kubelet.Empty) (*kubelet.DevicePluginOptions, error) {
				return &kubelet.DevicePluginOptions{}, nil
			}),
			method("Allocate", p.allocateAll),
			method("GetPreferredAllocation", func(
				context.Context, *kubelet.PreferredAllocationRequest,
			) (*kubelet.PreferredAllocationResponse, error) {
				return &kubelet.PreferredAllocationResponse{}, nil
			}),
			method("PreStartContainer", func(
				context.Context, *kubelet.PreStartContainerRequest,
			) (*kubelet.PreStartContainerResponse, error) {
				return &kubelet.PreStartContainerResponse{}, nil
			}),
		},
		Streams: []grpc.StreamDesc{{
			StreamName:    "ListAndWatch",
			ServerStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error {
				if err := stream.RecvMsg(&kubelet.Empty{}); err != nil {
					return err
				}
				return p.listAndWatch(&grpc.GenericServerStream[kubelet.Empty, kubelet.ListAndWatchResponse]{ServerStream: stream}, closing)
			},
		}},
	}, p)
	return made
}

// method is one unary method of a service.
func method[In, Out any](name string, answer func(context.Context, *In) (*Out, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := new(In)
			if err := decode(request); err != nil {
				return nil, err
			}
			return answer(ctx, request)
		},
	}
}
