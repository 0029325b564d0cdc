"""The port planner against real listeners."""

from __future__ import annotations

import socket

from accelform.targets.edge import port_problem


def test_a_port_someone_listens_on_is_refused():
    """A listening program of any kind is found, and a free port is not refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert f"port {port} is already in use on 127.0.0.1" in port_problem(port, None, "digits")

    assert port_problem(port, None, "digits") is None


def test_planning_does_not_disturb_a_listener(bench, make_image, port):
    """A service is not in its own way, and looking at its port leaves it serving."""
    bench.provision()
    bench.deploy(make_image(), port=port)
    state = bench.box.describe()

    assert port_problem(port, state, "digits") is None
    assert "belongs to service 'digits'" in port_problem(port, state, "letters", owner="project/stack/letters")
    assert bench.box.service("digits").state == "Healthy"
