"""The networks the FPGA knows: their topology, their names, their weights."""
