"""The Kubernetes target: pools of machines with FPGAs in a cluster that is there already, and services on them."""

from __future__ import annotations
