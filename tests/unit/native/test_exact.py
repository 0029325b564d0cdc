"""What the native engine is for: the definition's bits, on every step, in every format."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.native.networks import Case, cases
from tests.unit.native.support import backends, needs_library

from accelform_runtime.errors import NotFinite
from accelform_runtime.native import Engine
from accelform_runtime.native.records import Backend
from accelform_runtime.network.quantised import quantise_parameters
from accelform_runtime.network.reference import Reference
from accelform_runtime.numerics import load_profile, profile_names
from accelform_runtime.numerics.quantiser import Floats

PROFILES = tuple(name for name in profile_names() if load_profile(name).quantised)

pytestmark = needs_library


def same_bits(left: Floats, right: Floats) -> bool:
    """Also the sign of zero."""
    return left.shape == right.shape and bool((left.view(np.int32) == right.view(np.int32)).all())


def check(case: Case, profile: str, backend: Backend, threads: int) -> None:
    fmt = load_profile(profile)
    parameters = quantise_parameters(case.network, case.parameters, fmt)
    reference = Reference(case.network, parameters, fmt)
    with Engine(case.network, parameters, fmt, threads=threads, inspect=True, backend=backend) as engine:
        try:
            expected = reference.run(case.image)
        except NotFinite:
            with pytest.raises(NotFinite):
                engine.run(case.image)
            return
        for _ in range(2):  # the second run finds the first one's memory
            given = engine.run(case.image)
            assert given.keys() == expected.keys()
            for tensor, values in expected.items():
                assert same_bits(given[tensor], values), tensor
        layers = engine.layers(case.image)
    assert layers.keys() == reference.outputs.keys()
    for step, values in reference.outputs.items():
        assert same_bits(layers[step], values), step


@settings(max_examples=15, suppress_health_check=list(HealthCheck), derandomize=True)
@given(case=cases(), backend=st.sampled_from(backends()), threads=st.integers(1, 3))
@pytest.mark.parametrize("profile", PROFILES)
def test_every_step_equals_the_definition_bit_for_bit(profile: str, case: Case, backend: Backend, threads: int) -> None:
    """Random networks of all kinds of steps give what the NumPy reference gives, on all layers and all kernels."""
    check(case, profile, backend, threads)


@settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
@given(case=cases(), backend=st.sampled_from(backends()))
def test_the_default_format_equals_the_definition_on_more_networks(case: Case, backend: Backend) -> None:
    """The served format, on more networks."""
    check(case, "bw-a10-cnn", backend, 2)
