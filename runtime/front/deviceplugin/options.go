package deviceplugin

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	// longestSocketPath is what a unix socket's address has room for.
	longestSocketPath = 107
	mostFPGAs         = 64
)

// resourceName is Kubernetes' rule for an extended resource: a domain and a name.
var resourceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)

// Options are what the plugin's command line says.
type Options struct {
	// ResourceName is what pods ask for.
	ResourceName string
	// Count is how many emulated FPGAs the node has.
	Count int
	// DevicesFolder has a folder for each FPGA; it is at the same path on the node, since pods get parts of it mounted.
	DevicesFolder string
	// KubeletFolder is where kubelet.sock is, and where the plugin's own socket goes.
	KubeletFolder string
	// PodResourcesSocket is where the kubelet tells which pod holds what.
	PodResourcesSocket string
	// ServiceAccountFolder has the token and the authorities for the API server.
	ServiceAccountFolder string
	// NodeName is this node's; empty: unknown.
	NodeName string
	// MetricsPort is the TCP port of metrics over HTTP; 0: there are none.
	MetricsPort int

	// look is the time between two looks at faults and sockets.
	look time.Duration
}

// parse reads the command line. The error of one that cannot be used lists every problem; flag.ErrHelp asks for nothing
// but the usage, which is written to usage.
func parse(arguments []string, usage io.Writer) (*Options, error) {
	o := &Options{look: 500 * time.Millisecond}
	flags := flag.NewFlagSet("device-plugin", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.ResourceName, "resource-name", "microsoft.com/fpga_catapult", "extended resource that pods ask for")
	flags.IntVar(&o.Count, "count", 1, "emulated FPGAs of this node")
	flags.StringVar(&o.DevicesFolder, "devices-folder", "/var/lib/accelform/fpga", "folder of the FPGAs, the same path as on the node")
	flags.StringVar(&o.KubeletFolder, "kubelet-folder", "/var/lib/kubelet/device-plugins", "folder of kubelet.sock")
	flags.StringVar(&o.PodResourcesSocket, "pod-resources-socket", "/var/lib/kubelet/pod-resources/kubelet.sock",
		"socket that tells which pod holds which FPGA")
	flags.StringVar(&o.ServiceAccountFolder, "service-account-folder", "/var/run/secrets/kubernetes.io/serviceaccount",
		"folder of the token for the API server")
	flags.StringVar(&o.NodeName, "node-name", os.Getenv("NODE_NAME"), "this node's name; default: NODE_NAME")
	flags.IntVar(&o.MetricsPort, "metrics-port", 0, "TCP port of metrics over HTTP; 0: none")
	switch err := flags.Parse(arguments); {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(usage)
		flags.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, err
	case flags.NArg() > 0:
		return nil, fmt.Errorf("the device plugin takes flags only, not %q", flags.Arg(0))
	}
	return o, o.check()
}

func (o *Options) check() error {
	var wrong []string
	if domain, _, _ := strings.Cut(o.ResourceName, "/"); !resourceName.MatchString(o.ResourceName) {
		wrong = append(wrong, fmt.Sprintf("--resource-name must be DOMAIN/NAME, not %q", o.ResourceName))
	} else if domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io") {
		wrong = append(wrong, fmt.Sprintf("--resource-name must not be in Kubernetes' own domain, as %q is", o.ResourceName))
	}
	if o.Count < 1 || o.Count > mostFPGAs {
		wrong = append(wrong, fmt.Sprintf("--count must be between 1 and %d, not %d", mostFPGAs, o.Count))
	}
	if o.MetricsPort < 0 || o.MetricsPort > 65535 {
		wrong = append(wrong, fmt.Sprintf("--metrics-port must be between 0 and 65535, not %d", o.MetricsPort))
	}
	if !filepath.IsAbs(o.DevicesFolder) {
		wrong = append(wrong, fmt.Sprintf("--devices-folder must be an absolute path, not %q", o.DevicesFolder))
	}
	if path := o.socket(); len(path) > longestSocketPath {
		wrong = append(wrong, fmt.Sprintf("the socket's path %s has more than %d bytes; choose a shorter --kubelet-folder or "+
			"--resource-name", path, longestSocketPath))
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// endpoint is the file name of the plugin's socket.
func (o *Options) endpoint() string {
	return "accelform-" + strings.ReplaceAll(o.ResourceName, "/", "_") + ".sock"
}

func (o *Options) socket() string { return filepath.Join(o.KubeletFolder, o.endpoint()) }

func (o *Options) kubeletSocket() string { return filepath.Join(o.KubeletFolder, "kubelet.sock") }
