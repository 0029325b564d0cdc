"""A service's life on a box: deployed, changed, failed, replaced, removed."""

from __future__ import annotations

import pytest

from accelform.errors import NoFpgaFree, NotOwner, PortInUse, ServiceNotReady
from accelform.targets.edge import health


def test_deploy_returns_a_healthy_service(bench, make_image, port):
    """A deployed service answers SERVING on its port and holds an FPGA."""
    bench.provision()

    state = bench.deploy(make_image(), port=port)

    assert (state.state, state.reason, state.scoring_uri) == ("Healthy", "", f"http://127.0.0.1:{port}")
    assert health.check(port) == "SERVING"
    assert [(row.fpga, row.service, row.port) for row in bench.box.resident()] == [(0, "digits", port)]
    assert [text[:5] for text in bench.said if text.startswith("[")] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
