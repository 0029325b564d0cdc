"""Public tools that emulate block floating point, run in an environment of their own beside ours."""
