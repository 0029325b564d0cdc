"""A node's emulated FPGAs in Kubernetes: the device plugin, which is a part of the front's program, and faults."""
