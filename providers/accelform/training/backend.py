"""TensorFlow and Keras, or what to install.

They are imported here and nowhere else, so that `import accelform` needs neither.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from accelform.errors import TrainingUnavailable

try:
    # By name: neither has types that a checker could follow.
    tf: Any = import_module("tensorflow")
    keras: Any = import_module("keras")
except ModuleNotFoundError as error:
    raise TrainingUnavailable(
        f"accelform.training needs TensorFlow, but {sys.executable} has no module {error.name}. Run `make tensorflow` "
        "and use .venv-tensorflow/bin/python, or install the extra: pip install 'accelform[tensorflow]'."
    ) from error

if keras.backend.backend() != "tensorflow":
    raise TrainingUnavailable(
        f"accelform.training needs Keras on TensorFlow, but here Keras runs on {keras.backend.backend()}. Set the "
        "environment variable KERAS_BACKEND to tensorflow, or leave it unset, and start again."
    )

__all__ = ["keras", "tf"]
