"""The worker of one model: frames in, parsing, decoding, the FPGA, frames out."""
