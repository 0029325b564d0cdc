"""Networks as data: the steps that an FPGA runs one after the other, without weights and without a framework."""
