"""The Kubernetes target: pools of machines with FPGAs in a cluster that is there already, and services on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelform._base.faces import late

if TYPE_CHECKING:
    from accelform.targets.kubernetes.address import Address
    from accelform.targets.kubernetes.client import Cluster
    from accelform.targets.kubernetes.gate import Gate, Wish
    from accelform.targets.kubernetes.holdings import remove_left, require_own
    from accelform.targets.kubernetes.pool import CHANGING, LOOKING, NodePool
    from accelform.targets.kubernetes.spec import PoolSpec

__all__ = [
    "CHANGING",
    "LOOKING",
    "Address",
    "Cluster",
    "Gate",
    "NodePool",
    "PoolSpec",
    "Wish",
    "quota",
    "remove_left",
    "require_own",
    "rights",
]

__getattr__ = late(
    __name__,
    {
        "CHANGING": "pool",
        "LOOKING": "pool",
        "Address": "address",
        "Cluster": "client",
        "Gate": "gate",
        "NodePool": "pool",
        "PoolSpec": "spec",
        "Wish": "gate",
        "remove_left": "holdings",
        "require_own": "holdings",
    },
)
