"""A real Kubernetes on this machine, for tests: `python -m tools.cluster start`, `stop`, `status`."""
