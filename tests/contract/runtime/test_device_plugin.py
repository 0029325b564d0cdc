"""The device plugin towards a kubelet: registration, lists, allocation, restarts, and its end."""

from __future__ import annotations

import os
import signal
import stat
import time
import urllib.request
from pathlib import Path

import grpc
import pytest
from tests.contract.runtime.plugins import RESOURCE, known, node
from tests.support.kubelet_api import devices
from tests.support.ports import free_port

from accelform_runtime.device.lock import DeviceLock, Resident

__all__ = ["known", "node"]

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root's rights")


def test_registration(node, known):
    """The plugin serves before it registers, by version, socket and resource, and lists every FPGA as healthy."""
    plugin = known("--count", "3")

    (request,) = node.kubelet.registered
    assert (request.version, request.resource_name) == ("v1beta1", RESOURCE)
    assert (node.kubelet.folder / request.endpoint).is_socket()
    assert "/" not in request.endpoint
    assert node.kubelet.watch.now == {"fpga-0": "Healthy", "fpga-1": "Healthy", "fpga-2": "Healthy"}
    options = node.kubelet.call("GetDevicePluginOptions", devices.Empty(), devices.DevicePluginOptions)
    assert not options.pre_start_required
    assert not options.get_preferred_allocation_available
    assert plugin.events("registered")[0]["resource_name"] == RESOURCE


def test_allocate(node, known):
    """A container gets its FPGA's folder, which any user may lock in, and the FPGA's name."""
    known("--count", "2")

    answer = node.kubelet.allocate(["fpga-1"], ["fpga-0"])

    assert [dict(each.envs) for each in answer.container_responses] == [
        {"ACCELFORM_FPGA": "fpga-1"},
        {"ACCELFORM_FPGA": "fpga-0"},
    ]
    for each, id_ in zip(answer.container_responses, ("fpga-1", "fpga-0"), strict=True):
        (mount,) = each.mounts
        folder = node.devices / id_ / "lock-folder"
        assert (mount.container_path, mount.host_path) == ("/run/accelform/fpga", str(folder))
        assert not mount.read_only
        assert stat.S_IMODE(folder.stat().st_mode) == 0o777
        assert stat.S_IMODE((folder / "lock").stat().st_mode) == 0o666
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    DeviceLock(node.devices / "fpga-0" / "lock-folder" / "lock", Resident(service="a", image="b", pid=1)).release()


@pytest.mark.parametrize(
    ("containers", "code", "words"),
    [
        ([["fpga-9"]], grpc.StatusCode.NOT_FOUND, ['"fpga-9"', "fpga-0, fpga-1"]),
        ([["fpga-0"], ["fpga-1"]], grpc.StatusCode.FAILED_PRECONDITION, ["fpga-1", "burnt"]),
        ([["fpga-0", "fpga-0"]], grpc.StatusCode.INVALID_ARGUMENT, ["one FPGA", RESOURCE]),
        ([[]], grpc.StatusCode.INVALID_ARGUMENT, ["one FPGA"]),
    ],
    ids=["unknown", "unhealthy", "two", "none"],
)
def test_allocate_errors(node, known, eventually, containers, code, words):
    """An FPGA that is not there or unusable, and more or less than one, are refused with the reason, in the log too."""
    plugin = known("--count", "2")
    node.fault("fpga-1", "burnt\n")

    with pytest.raises(grpc.RpcError) as refused:
        node.kubelet.allocate(*containers)

    assert refused.value.code() is code
    assert all(word in refused.value.details() for word in words)
    (line,) = eventually(lambda: plugin.events("refused"), "the log line")
    assert all(word in line["message"] for word in words)


def test_allocate_after_another_service(node, known):
    """Nothing that a service has left hinders the next one, and a process that still holds the FPGA does."""
    known()
    (mount,) = node.kubelet.allocate(["fpga-0"]).container_responses[0].mounts
    folder = node.devices / "fpga-0" / "lock-folder"
    (folder / "more" / "and-more").mkdir(parents=True)
    (folder / "more" / "link").symlink_to("/etc/passwd")
    lock = DeviceLock(folder / "lock", Resident(service="digits", image="", pid=1))

    with pytest.raises(grpc.RpcError, match='service "digits" still holds it'):
        node.kubelet.allocate(["fpga-0"])
    lock.release()
    answer = node.kubelet.allocate(["fpga-0"])

    assert answer.container_responses[0].mounts[0].host_path == mount.host_path
    assert [path.name for path in folder.iterdir()] == ["lock"]
    assert (folder / "lock").read_text() == ""


def test_health(node, known, eventually):
    """A fault makes an FPGA unhealthy within a second, in a whole list; taking it away heals it; each is one line."""
    plugin = known("--count", "2")

    def shows(state: str) -> None:
        expected = {"fpga-0": "Healthy", "fpga-1": state}
        eventually(lambda: node.kubelet.watch.now == expected, state, seconds=2)

    node.fault("fpga-1", "over\n80 C")
    shows("Unhealthy")
    node.heal("fpga-1")
    shows("Healthy")

    told = [(line["fpga"], line["state"], line["reason"]) for line in plugin.events("health")]
    assert told == [("fpga-1", "Unhealthy", "over 80 C"), ("fpga-1", "Healthy", "")]


def test_fault_of_before(node, known):
    """A fault outlives the plugin: the first list of a new one has it."""
    first = known()
    node.fault("fpga-0", "broken")
    first.process.terminate()
    assert first.process.wait(180) == 0

    known()

    assert node.kubelet.watch.lists[0] == {"fpga-0": "Unhealthy"}


def test_kubelet_restarts(node, known, eventually):
    """After each restart of the kubelet, quick or slow, the plugin is registered again, with a new socket."""
    plugin = known()
    for number, gap in enumerate((0.0, 0.2, 3.0), start=2):
        node.kubelet.stop()
        time.sleep(gap)
        node.kubelet.start()
        eventually(lambda number=number: len(node.kubelet.registered) == number, "the registration", seconds=15)
        eventually(lambda: node.kubelet.watch and node.kubelet.watch.now == {"fpga-0": "Healthy"}, "the list")
        assert node.kubelet.allocate(["fpga-0"]).container_responses
    assert plugin.process.poll() is None
    assert len(plugin.events("registered")) == 4


def test_socket_is_removed(node, known, eventually):
    """A socket that somebody removes comes back, and the kubelet is told."""
    known()

    (node.kubelet.folder / node.kubelet.registered[0].endpoint).unlink()

    eventually(lambda: len(node.kubelet.registered) == 2, "the registration", seconds=10)
    eventually(lambda: node.kubelet.watch.now == {"fpga-0": "Healthy"}, "the list")


def test_list_is_no_longer_watched(node, known, eventually):
    """A kubelet that stops to watch without a restart is told anew, since it counts the FPGAs as lost."""
    known()

    node.kubelet.watch.end()

    eventually(lambda: len(node.kubelet.registered) == 2, "the registration", seconds=30)
    eventually(lambda: node.kubelet.watch.now == {"fpga-0": "Healthy"}, "the list")


def test_kubelet_that_is_not_there_yet(node, eventually):
    """Without a kubelet the plugin waits, says so once, and registers when there is one; refusals are the same."""
    node.kubelet.stop()
    (node.kubelet.folder / "kubelet.sock").unlink(missing_ok=True)
    plugin = node.start()
    eventually(lambda: plugin.events("trouble"), "the log line")
    time.sleep(2.5)
    assert len(plugin.events("trouble")) == 1
    assert str(node.kubelet.folder / "kubelet.sock") in plugin.events("trouble")[0]["message"]

    node.kubelet.refusal = "the kubelet does not want it"
    node.kubelet.start()
    eventually(lambda: len(plugin.events("trouble")) == 2, "the refusal")
    assert node.kubelet.refusal in plugin.events("trouble")[1]["message"]

    node.kubelet.refusal = ""
    eventually(lambda: node.kubelet.registered, "the registration")


def test_second_plugin(node, known):
    """A second plugin on the same FPGAs, or for the same resource, ends with exit code 2 and says who is there."""
    first = known()
    same = node.start()
    other = node.start("--devices-folder", str(node.folder / "others"))

    assert same.process.wait(180) == other.process.wait(180) == 2
    assert f"process {first.process.pid}" in same.events("error")[0]["message"]
    assert "served already" in other.events("error")[0]["message"]
    assert node.kubelet.watch.now == {"fpga-0": "Healthy"}
    assert len(node.kubelet.registered) == 1


def test_another_resource(node, known):
    """Two plugins for two resources, each with FPGAs of its own, live side by side."""
    known()
    known("--devices-folder", str(node.folder / "others"), "--resource-name", "example.com/fpga", "--count", "2")

    assert [each.resource_name for each in node.kubelet.registered] == [RESOURCE, "example.com/fpga"]
    assert len({each.endpoint for each in node.kubelet.registered}) == 2
    assert len(node.kubelet.watch.now) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(node, known, eventually, number):
    """A signal ends the list and the plugin, with exit code 0 and no socket left, while it is registered or waits."""
    plugin = known()
    endpoint = node.kubelet.registered[0].endpoint
    watch = node.kubelet.watch
    plugin.process.send_signal(number)
    assert plugin.process.wait(180) == 0
    assert watch.ended.wait(5)
    assert not (node.kubelet.folder / endpoint).exists()
    assert plugin.events("stopped")

    node.kubelet.stop()
    waits = node.start()
    eventually(lambda: waits.events("trouble"), "the log line")
    waits.process.send_signal(number)
    assert waits.process.wait(180) == 0
    assert not (node.kubelet.folder / endpoint).exists()


def test_killed_plugin(node, known):
    """After kill -9 the next plugin takes over at once."""
    first = known("--count", "2")
    first.process.kill()
    first.process.wait(180)

    known("--count", "2")

    assert len(node.kubelet.registered) == 2
    assert node.kubelet.allocate(["fpga-1"]).container_responses


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--count", "0"], ["--count"]),
        (["--resource-name", "fpga", "--count", "65"], ["--resource-name", "--count"]),
        (["--resource-name", "kubernetes.io/fpga"], ["Kubernetes' own domain"]),
        (["--resource-name", "example.com/fpga", "--kubelet-folder", "/" + "long/" * 20], ["socket's path"]),
        (["--devices-folder", "fpga"], ["--devices-folder"]),
        (["--metrics-port", "70000"], ["--metrics-port"]),
        (["--kubelet-folder", "/not/there"], ["/not/there", "mount"]),
        (["--frob"], ["frob"]),
        (["extra"], ["extra"]),
    ],
)
def test_wrong_flags(node, flags, words):
    """What cannot be used is exit code 2 and one line that names it."""
    plugin = node.start(*flags)

    assert plugin.process.wait(180) == 2
    (line,) = plugin.events("error")
    assert all(word in line["message"] for word in words), line


@only_root
def test_without_privileges(node, known, eventually):
    """Root without a single capability is enough, also after a service that closed its files to others."""
    prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    plugin = known(prefix=prefix)
    status = Path(f"/proc/{plugin.process.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    node.kubelet.allocate(["fpga-0"])
    folder = node.devices / "fpga-0" / "lock-folder"
    (folder / "closed").mkdir(mode=0o700)
    (folder / "closed" / "file").touch()
    for path in (folder / "closed", folder / "lock"):
        os.chown(path, 65532, 65532)
    (folder / "lock").chmod(0o600)

    node.kubelet.allocate(["fpga-0"])

    assert [path.name for path in folder.iterdir()] == ["lock"]
    assert stat.S_IMODE((folder / "lock").stat().st_mode) == 0o666
    node.fault("fpga-0", "hot")
    eventually(lambda: node.kubelet.watch.now == {"fpga-0": "Unhealthy"}, "the fault")
    plugin.process.terminate()
    assert plugin.process.wait(180) == 0


def test_metrics(node, known, eventually):
    """Registration, allocations, refusals and health are there for Prometheus."""
    port = free_port()
    known("--metrics-port", str(port), "--count", "2")
    node.kubelet.allocate(["fpga-1"])
    node.fault("fpga-0", "hot")
    with pytest.raises(grpc.RpcError):
        node.kubelet.allocate(["fpga-0"])

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()

    assert {
        "accelform_device_plugin_registered 1",
        "accelform_device_plugin_registrations_total 1",
        'accelform_device_plugin_allocations_total{fpga="fpga-1"} 1',
        "accelform_device_plugin_refusals_total 1",
        'accelform_fpga_healthy{fpga="fpga-0"} 0',
        'accelform_fpga_healthy{fpga="fpga-1"} 1',
    } <= set(lines)
