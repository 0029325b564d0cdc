package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	kubelet "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	registerTime = 10 * time.Second
	registerWait = time.Second
	// unwatched is how long a kubelet that knows the plugin may leave its list alone.
	unwatched = 10 * time.Second
)

// mark tells two files at one path apart; the zero mark is no file.
type mark struct {
	device, inode uint64
	changed       int64
}

func markOf(path string) mark {
	var found syscall.Stat_t
	if syscall.Stat(path, &found) != nil {
		return mark{}
	}
	return mark{device: uint64(found.Dev), inode: found.Ino, changed: found.Ctim.Nano()}
}

// opened is the plugin's socket and who serves it.
type opened struct {
	socket  string
	mark    mark
	server  *grpc.Server
	closing chan struct{}
}

// open makes the socket anew and serves it. A kubelet calls back as soon as it is told, so this comes first.
func (p *plugin) open() (*opened, error) {
	path := p.options.socket()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot replace the socket %s: %w", path, err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("cannot make the socket %s: %w; mount the node's folder there", path, err)
	}
	listener.SetUnlinkOnClose(false) // another one may be there by then
	found := &opened{socket: path, mark: markOf(path), closing: make(chan struct{})}
	found.server = p.server(found.closing)
	go found.server.Serve(listener)
	return found, nil
}

func (o *opened) close() {
	close(o.closing)
	o.server.Stop()
	if markOf(o.socket) == o.mark {
		os.Remove(o.socket)
	}
}

// serve keeps the plugin known to the kubelet until ctx ends; each kubelet that starts knows of no plugin, and removes
// their sockets.
func (p *plugin) serve(ctx context.Context, first *opened) {
	for current := first; ctx.Err() == nil; {
		if current != nil {
			why := p.attend(ctx, current)
			current.close()
			p.metrics.registered.Set(0)
			if ctx.Err() != nil {
				return
			}
			p.log.Write("kubelet", "state", "lost", "reason", why)
		}
		var err error
		if current, err = p.open(); err != nil {
			p.tell("socket", err.Error())
			pause(ctx, registerWait)
		}
	}
}

// attend registers and then watches over the connection; it returns why that has to be done again.
func (p *plugin) attend(ctx context.Context, own *opened) string {
	var known mark
	for {
		seen := markOf(p.options.kubeletSocket())
		err := p.register(ctx)
		if err == nil {
			known = seen
			break
		}
		if ctx.Err() != nil {
			return "stopped"
		}
		p.tell("register", err.Error())
		if !pause(ctx, registerWait) {
			return "stopped"
		}
		if markOf(own.socket) != own.mark {
			return "the plugin's socket was removed"
		}
	}
	p.tell("register", "")
	p.metrics.registrations.Inc()
	p.metrics.registered.Set(1)
	p.count(0)
	p.log.Write("registered", "resource_name", p.options.ResourceName, "endpoint", p.options.endpoint())
	for pause(ctx, p.options.look) {
		if markOf(own.socket) != own.mark {
			return "the plugin's socket was removed"
		}
		if now := markOf(p.options.kubeletSocket()); now != known && now != (mark{}) {
			return "the kubelet was started again"
		}
		if watches, since := p.watched(); !watches && time.Since(since) > unwatched {
			return "the kubelet does not watch the list"
		}
	}
	return "stopped"
}

// register tells the kubelet where the plugin is.
func (p *plugin) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	connection, err := dial(p.options.kubeletSocket())
	if err != nil {
		return err
	}
	defer connection.Close()
	request := &kubelet.RegisterRequest{
		Version:      kubelet.Version,
		Endpoint:     p.options.endpoint(),
		ResourceName: p.options.ResourceName,
		Options:      &kubelet.DevicePluginOptions{},
	}
	if _, err := kubelet.NewRegistrationClient(connection).Register(ctx, request); err != nil {
		return fmt.Errorf("the kubelet at %s does not take the registration: %s; it is tried again every second",
			p.options.kubeletSocket(), status.Convert(err).Message())
	}
	return nil
}

func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", path)
		}))
}

// pause is false when ctx ends within the time.
func pause(ctx context.Context, of time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(of):
		return true
	}
}
