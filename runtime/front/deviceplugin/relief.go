package deviceplugin

import (
	"context"
	"fmt"
	"time"

	kubelet "k8s.io/kubelet/pkg/apis/podresources/v1"
)

const (
	relieveEvery = 30 * time.Second
	// nodeTime is how long a node may take to show that it has an FPGA less; a kubelet tells every ten seconds.
	nodeTime = 30 * time.Second
	podsTime = 10 * time.Second
)

// pod is a pod by its name.
type pod struct{ namespace, name string }

// relieve removes pods from FPGAs that cannot be used, as long as there are any, so that whoever made them puts them on
// others. A kubelet never does: it only stops to hand out the FPGA.
func (p *plugin) relieve(ctx context.Context) {
	for ctx.Err() == nil {
		all, changed := p.fpgas.now()
		var again <-chan time.Time
		for _, each := range all {
			if each.fault == "" {
				p.tell("pods of "+each.id, "")
				continue
			}
			again = time.After(relieveEvery)
			if err := p.relieveOne(ctx, each); err != nil && ctx.Err() == nil {
				p.tell("pods of "+each.id, err.Error())
			}
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-again:
		}
	}
}

func (p *plugin) relieveOne(ctx context.Context, broken fpga) error {
	holders, err := p.holding(ctx, broken.id)
	if err != nil || len(holders) == 0 {
		return err
	}
	server, err := p.connect()
	if err != nil {
		return fmt.Errorf("%s stays on %s, which cannot be used: %w", list(holders), broken.id, err)
	}
	p.untilShown(ctx, server)
	for _, each := range holders {
		if now, _ := p.fpgas.find(broken.id); now.fault == "" {
			return nil // healed meanwhile
		}
		uid, err := server.deletePod(ctx, each)
		if err != nil {
			return fmt.Errorf("%s stays on %s, which cannot be used: %w", list([]pod{each}), broken.id, err)
		}
		if uid != "" && p.deleted[broken.id] != uid { // one that takes its time to end is asked again
			p.deleted[broken.id] = uid
			p.metrics.deleted.Inc()
			p.log.Write("pod_deleted", "namespace", each.namespace, "pod", each.name, "fpga", broken.id, "reason", broken.fault)
		}
	}
	return nil
}

// untilShown waits until the node shows no more FPGAs than can be used: a pod that takes a deleted one's place earlier
// may be sent to the broken FPGA once more, where it fails. Without the right to see the node nothing is waited for.
func (p *plugin) untilShown(ctx context.Context, server *apiServer) {
	deadline := time.Now().Add(nodeTime)
	for p.options.NodeName != "" && time.Now().Before(deadline) && ctx.Err() == nil {
		all, _ := p.fpgas.now()
		usable := 0
		for _, each := range all {
			if each.fault == "" {
				usable++
			}
		}
		shown, err := server.allocatable(ctx, p.options.NodeName, p.options.ResourceName)
		if err != nil {
			p.tell("node", err.Error())
			return
		}
		p.tell("node", "")
		if shown <= usable {
			return
		}
		pause(ctx, time.Second)
	}
}

// holding are the pods that the kubelet has given the FPGA to.
func (p *plugin) holding(ctx context.Context, id string) ([]pod, error) {
	ctx, cancel := context.WithTimeout(ctx, podsTime)
	defer cancel()
	connection, err := dial(p.options.PodResourcesSocket)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	answer, err := kubelet.NewPodResourcesListerClient(connection).List(ctx, &kubelet.ListPodResourcesRequest{})
	if err != nil {
		return nil, fmt.Errorf("the kubelet at %s does not tell which pod holds %s: %w", p.options.PodResourcesSocket, id, err)
	}
	var found []pod
	for _, each := range answer.GetPodResources() {
		if p.holds(each, id) {
			found = append(found, pod{namespace: each.GetNamespace(), name: each.GetName()})
		}
	}
	return found, nil
}

func (p *plugin) holds(of *kubelet.PodResources, id string) bool {
	for _, container := range of.GetContainers() {
		for _, devices := range container.GetDevices() {
			for _, held := range devices.GetDeviceIds() {
				if devices.GetResourceName() == p.options.ResourceName && held == id {
					return true
				}
			}
		}
	}
	return false
}

func list(pods []pod) string {
	text := ""
	for index, each := range pods {
		if index > 0 {
			text += ", "
		}
		text += each.namespace + "/" + each.name
	}
	return "pod " + text
}
