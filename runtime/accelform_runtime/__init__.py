"""What runs inside the image: FPGA numerics, timing, the device, the server and its client."""
