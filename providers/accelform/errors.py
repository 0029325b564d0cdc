"""Accelform's errors.

    AccelformError
    ├── UserError            the person who declares the stack can fix it
    │   ├── StoreLocationError   the store's url, key or name cannot be used
    │   ├── StoreFull            no space (or quota) left where the store lives
    │   ├── StoreDenied          the store refuses these credentials or this account
    │   ├── StoreCorrupt         something in the store was changed from outside
    │   ├── WorkspaceConflict    the store already holds a different workspace
    │   ├── NotOwner             another stack owns this version
    │   ├── ImageCorrupt         an image's content does not match its digests, or is unsafe to unpack
    │   ├── ModelSourceMissing   a model file, or a file it names, is not there or not readable
    │   ├── NotAModel            the file is not a featurizer specification
    │   ├── InvalidFeaturizerSpec    the specification has problems, all listed
    │   ├── InvalidWeights       arrays are missing or have wrong shapes, types or values
    │   ├── UnknownTensor        a tensor was asked for that the model doesn't have
    │   └── UnknownNumberFormat  no number format profile of that name
    └── InternalError        Accelform or its surroundings failed
        ├── ObjectExists         a conditional create found the key taken
        ├── ObjectMissing        the object is not in the store
        ├── StoreUnreachable     the store did not answer or failed
        └── RuntimeLayerError    the installed runtime cannot be packed

Every message says what failed, on which object, why, and what to do next.
"""
# ruff: noqa: N818 - a name such as ObjectExists says what happened; the base class says that it is an error

from __future__ import annotations


class AccelformError(Exception):
    """The base of everything this package raises on purpose."""


class UserError(AccelformError):
    """The input, the configuration or the environment has to change; trying again unchanged fails again."""


class InternalError(AccelformError):
    """The input was fine; Accelform, the store or the target failed. Trying again may help."""


class StoreLocationError(UserError):
    """A store url, key or name that cannot be used; nothing was touched."""


class StoreFull(UserError):
    """No space or quota is left where the store lives; nothing half-written is visible."""


class StoreDenied(UserError):
    """The store refuses the credentials, or the account may not write there."""


class StoreCorrupt(UserError):
    """An object in the store is not what Accelform wrote: changed or damaged from outside."""


class WorkspaceConflict(UserError):
    """The store already holds a workspace with another identity."""


class NotOwner(UserError):
    """The version belongs to another stack, so this stack may not change or remove it."""


class ImageCorrupt(UserError):
    """An image's content does not match its digests, or its archive is unsafe to unpack."""


class ObjectExists(InternalError):
    """A conditional create found the key taken."""


class ObjectMissing(InternalError):
    """The object is not in the store."""


class StoreUnreachable(InternalError):
    """The store did not answer or failed; trying again may help."""


class RuntimeLayerError(InternalError):
    """The installed runtime cannot be packed into an image layer."""


class ModelSourceMissing(UserError):
    """A model file, or a file that it names, is missing or can't be read."""


class NotAModel(UserError):
    """The file is not something a model can be made from."""


class InvalidFeaturizerSpec(UserError):
    """A featurizer specification with problems; the message lists all of them."""


class InvalidWeights(UserError):
    """Weights that don't fit the network: missing, unknown or misshapen arrays, wrong types, NaN or infinite values."""


class UnknownTensor(UserError):
    """A conversion asks for an input or output tensor that the model doesn't have."""


class UnknownNumberFormat(UserError):
    """There is no number format profile of that name."""
