"""python -m accelform_runtime.server --model-dir DIR --config service.json [--check]

Checks what it was given, takes the FPGA, and becomes the front (accelform_runtime.front), which serves in this
process's place and starts the worker that holds the model.

Exit codes: 0 stopped when asked to, or nothing is wrong with --check; 2 the configuration, the model, the FPGA or the
port has to change; 1 the runtime failed. A signal that comes before this module is reached, in Python's own start, ends
the process as it ends any other (143 for SIGTERM, in a shell's count), and so does one that comes during --check.
"""

from __future__ import annotations

import sys

from accelform_runtime import stopping

if __name__ == "__main__":
    stopping.listen(quiet_end="--check" not in sys.argv)
    from accelform_runtime.server.command import main  # takes its time

    sys.exit(main())
