"""Fuzz targets for what strangers send: `python -m tools.fuzz.tensors -runs=100000`, and images, messages, rest.

Each has `check(data)`, which raises where the runtime does anything but answer or refuse in documented ways. Its seeds
are in tests/unit/worker/seeds/NAME, written by `python -m tools.fuzz.seeds`; inputs that found something stay there.
"""
