"""The wished pool, and the pool as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from accelform.plans import regions
from accelform.plans.cluster_names import POOL_LABEL


@dataclass(frozen=True, kw_only=True)
class PoolSpec:
    """A pool of `agent_count` machines, one FPGA each. `is_external`: a device plugin that is not ours offers them.

    `plugin_name` is that of its own device plugin and of the plugin's namespace, empty where the stack brings none.
    `node_selector` narrows what may be claimed; of an attached pool it says which nodes the pool is.
    """

    owner: str
    name: str
    agent_count: int
    vm_size: str
    location: str
    resource_name: str
    node_vcpus: int
    quota_vcpus: int
    timeout_seconds: float
    is_external: bool = False
    plugin_name: str = ""
    is_attached: bool = False
    node_selector: Mapping[str, str] = field(default_factory=dict)

    @property
    def taint(self) -> dict[str, str]:
        """What keeps other pods off the pool's nodes."""
        return {"key": self.resource_name, "value": self.name, "effect": "NoSchedule"}

    @property
    def selector(self) -> dict[str, str]:
        """The labels of the pool's nodes."""
        return dict(self.node_selector) if self.is_attached else {POOL_LABEL: self.name}

    @property
    def vcpus(self) -> int:
        """What the pool takes from the region's quota."""
        return regions.vcpus(self.vm_size, self.agent_count)


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """A pool as it is: its nodes by name, the FPGAs that pods can use now, and everything wrong with it.

    `fpga_capacity` never exceeds `agent_count`: one machine counts for one FPGA.
    """

    agent_count: int
    fpga_capacity: int
    nodes: tuple[str, ...]
    errors: tuple[str, ...]
