"""How long the commands take on a real cluster: up, nothing to do, another classifier under calls, destroy.

One service of two replicas on two real nodes, with the real ResNet-50. Between the commands the same pods are rolled by
kubectl alone, which is what Kubernetes itself takes for it: the part of a rollout that is nobody's choice. The nodes
tell of a new FPGA within two seconds; by themselves kubelets take ten, which is then added to the first `up`.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.cluster_stacks import Calls
from tools.cluster.layout import CONTEXT, Layout
from tools.toolchain.toolsets import KUBERNETES, ensure

from accelform.plans.regions import VCPUS_OF_VM_SIZE
from benchmarks import own_cluster
from benchmarks.bundles import ROOT
from benchmarks.goals import at_most
from benchmarks.measure import ratio, summarise, timed
from benchmarks.stacks import Stack

ROUNDS = 5
REPLICAS = 2
SERVICE = "digits"
NAME = "bench"
PICTURE = ROOT / "examples" / "digits" / "images" / "digit-3.png"
CLASSIFIER = "model-parity.yaml"
QUIET = ("--yes", "--skip-preview")


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Milliseconds per command over fresh stacks, a rollout over kubectl's, failed calls during rollouts."""
    seconds: dict[str, list[float]] = {}
    calls = {"answered": 0, "failed": 0}
    with (
        own_cluster.running(nodes=REPLICAS) as cluster,
        tempfile.TemporaryDirectory(prefix="accelform-bench-") as found,
    ):
        base = own_cluster.base_image_of(cluster)
        for number in range(rounds):
            _one_stack(cluster, base, Path(found) / str(number), seconds, calls)
    rolled, bare = seconds["up_with_another_classifier"], seconds["kubectl_rollout_of_the_same_pods"]
    return {
        "replicas": REPLICAS,
        **{name: summarise(values).as_dict() for name, values in seconds.items()},
        "rollout_over_kubectl": ratio(rolled, bare),
        "calls_during_rollouts": calls,
        "goals": [at_most("failed calls during rollouts", calls["failed"], 0)],
    }


def _one_stack(
    cluster: Layout, base: str, folder: Path, seconds: dict[str, list[float]], calls: dict[str, int]
) -> None:
    stack = Stack.create(folder, NAME, _settings(cluster, base))

    def step(name: str, action: Callable[[], object]) -> None:
        seconds.setdefault(name, []).append(timed(action))
        print(f"  {name}: {seconds[name][-1]:.1f} s", flush=True)

    step("preview_of_a_new_stack", lambda: stack.pulumi("preview"))
    try:
        step("up_of_a_new_stack", lambda: stack.pulumi("up", *QUIET))
        outputs = stack.outputs()
        step("preview_with_nothing_to_do", lambda: stack.pulumi("preview", "--expect-no-changes"))
        step("up_with_nothing_to_do", lambda: stack.pulumi("up", *QUIET, "--expect-no-changes"))
        stack.configure({"model_path": f"examples/digits/{CLASSIFIER}"})
        with Calls(outputs["scoring_uri"], outputs["primary_key"], PICTURE) as going_on:
            step("up_with_another_classifier", lambda: stack.pulumi("up", *QUIET))
            step("kubectl_rollout_of_the_same_pods", lambda: _roll(cluster))
        calls["answered"] += going_on.answers
        calls["failed"] += len(going_on.failures)
    finally:
        step("destroy", lambda: stack.pulumi("destroy", *QUIET))


def _roll(cluster: Layout) -> None:
    """Pod after pod anew, and the wait until the last is ready."""
    for words in (("restart",), ("status", "--timeout=300s")):
        subprocess.run(
            [
                *(str(ensure(KUBERNETES) / "kubectl"), "--kubeconfig", str(cluster.kubeconfig), "--context", CONTEXT),
                *("rollout", words[0], f"deployment/{SERVICE}", "--namespace", f"accelform-{NAME}", *words[1:]),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=360,
        )


def _settings(cluster: Layout, base: str) -> dict[str, Any]:
    return {
        "target": "kubernetes",
        "location": "westus2",
        "kubeconfig": str(cluster.kubeconfig),
        "kube_context": CONTEXT,
        "registry": f"{cluster.registry}/{NAME}",
        "base_image": base,
        "target_name": NAME,
        "workspace_name": NAME,
        "service_name": SERVICE,
        "image_name": SERVICE,
        "agent_count": REPLICAS,
        "num_replicas": REPLICAS,
        "quota_vcpus": VCPUS_OF_VM_SIZE["Standard_PB6s"] * REPLICAS,
        "node_vcpus": 1,  # nodes share this machine's processors
        "load_balancer_type": "NodePort",
    }
