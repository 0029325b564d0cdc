"""What runs inside the image: FPGA numerics, timing, the device, the server and its client."""

__version__ = "0.1.0"
