"""python3 -m accelform_runtime.device_plugin [FLAGS] | fault ID [REASON] | heal ID | list [--json]

Without a command it becomes the device plugin of this node, whose flags `--help` lists. The commands look at the node's
FPGAs, or make one unusable and usable again, while the plugin runs or not.

Exit codes: 0, also for a plugin that stopped when it was asked to, and 2 when somebody has to change something. A
signal that comes before this module is reached, in Python's own start, ends the process as it ends any other.
"""

from __future__ import annotations

import sys

from accelform_runtime import stopping
from accelform_runtime.device_plugin import COMMANDS

if __name__ == "__main__":
    stopping.listen(quiet_end=not any(word in COMMANDS for word in sys.argv[1:2]))
    from accelform_runtime.device_plugin.command import main  # takes its time

    sys.exit(main())
