"""Registry and base image of a stack in a cluster."""

from __future__ import annotations

import pytest

from accelform.plans import cluster_images

DIGEST = "@sha256:" + "0" * 64
GOOD = {
    "registry": "registry.example.com:5000/team/fpga",
    "base_image": f"registry.example.com/runtime{DIGEST}",
    "base_image_builder": "given",
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"registry": "127.0.0.1:5000/team"}, None),
        ({"registry": "https://registry.example.com/team"}, "without https"),
        ({"registry": "registry.example.com/Team"}, "lower case"),
        ({"registry": ""}, "registry is needed"),
        ({"base_image": "registry.example.com/runtime:1.0"}, "a tag can move"),
        ({"base_image": f"registry.example.com/runtime{DIGEST[:-1]}"}, "a tag can move"),
        ({"base_image": ""}, "base_image is needed"),
        ({"base_image_builder": "kaniko"}, "must be one of given, docker"),
        ({"base_image_builder": "docker"}, "drop one of the two"),
        ({"base_image_builder": "docker", "base_image": ""}, "needs base_image_rootfs"),
        ({"base_image_builder": "docker", "base_image": "", "base_image_rootfs": f"python{DIGEST}"}, None),
        ({"device_plugin_image": "plugin"}, "device_plugin_image 'plugin'"),
    ],
)
def test_each_rule_by_its_sentence(changes: dict[str, str], words: str | None) -> None:
    """What cannot be pulled by digest is named before anything is pushed."""
    reasons = " ".join(problem.reason for problem in cluster_images.problems({**GOOD, **changes}))

    assert (words in reasons) if words else not reasons
