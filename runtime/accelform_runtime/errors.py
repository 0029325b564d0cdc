"""The runtime's errors.

    AccelRuntimeError
    ├── UserError                 whoever configures, calls or deploys can fix it; a process exits with 2
    │   ├── ConfigInvalid         service.json or a command line value is wrong
    │   ├── KeyFileInvalid        the key file, or a key meant for it, is unusable
    │   ├── TokenKeysInvalid      the keys that tokens are signed with, or checked against, are unusable
    │   ├── BundleInvalid         the model bundle is missing, incomplete or altered
    │   ├── DeviceBusy            the FPGA already holds another service's model
    │   ├── AddressUnavailable    the listen address or port cannot be bound
    │   ├── InvalidRequest        a call does not fit the model (INVALID_ARGUMENT)
    │   │   ├── InvalidTensor     a TensorProto contradicts itself or has the wrong type
    │   │   └── InvalidImage      bytes that are no image this runtime decodes
    │   ├── UnknownModel          a call names a model or version that is not resident (NOT_FOUND)
    │   ├── MethodUnknown         a call names a method that there is not (UNIMPLEMENTED)
    │   ├── UnknownSignature      a call names a signature the model lacks (FAILED_PRECONDITION)
    │   ├── Overloaded            no room in the queue, or waited too long (RESOURCE_EXHAUSTED)
    │   ├── DeadlinePassed        the time a call had is over (DEADLINE_EXCEEDED)
    │   ├── AddressInvalid        a client got an address it cannot use
    │   ├── ServiceUnreachable    nothing answers at the address (UNAVAILABLE)
    │   ├── KeyRefused            the service did not accept the key (UNAUTHENTICATED)
    │   ├── DetectionInvalid      outputs or settings from which no objects can be read
    │   ├── UnknownProfile        there is no number format of that name
    │   ├── NotFinite             NaN or infinity where the FPGA takes numbers only
    │   └── EngineUnavailable     the native engine can't run here, or not this network
    └── InternalError             the runtime or its surroundings failed; a process exits with 1
        └── ServiceFailed         the service answered with a failure of its own (INTERNAL)

Every message says what failed, on which object, why, and what to do next. Texts that travel to a caller name no
paths and no internals. `status` is the name of the gRPC status code that stands for the error on the wire.
"""

from __future__ import annotations


class AccelRuntimeError(Exception):
    """The base of everything this package raises on purpose."""

    status = "INTERNAL"


class UserError(AccelRuntimeError):
    """The input, the configuration or the environment has to change; trying again unchanged fails again."""

    status = "INVALID_ARGUMENT"


class InternalError(AccelRuntimeError):
    """The input was fine; the runtime or its surroundings failed. Trying again may help."""


class ConfigInvalid(UserError):
    """A setting is missing, unknown or out of range; the message lists every problem."""


class KeyFileInvalid(UserError):
    """A key file cannot be read or written, or a key is not fit to be one."""


class TokenKeysInvalid(UserError):
    """A file of tokens' public keys cannot be read or written, or a key is not fit to sign tokens or to check them."""


class BundleInvalid(UserError):
    """A model bundle is missing a file, does not match its own digests, or describes something else than its graph."""


class DeviceBusy(UserError):
    """Another process holds the FPGA; the message names the resident service."""

    status = "FAILED_PRECONDITION"


class AddressUnavailable(UserError):
    """The server cannot listen where it was told to."""

    status = "UNAVAILABLE"


class InvalidRequest(UserError):
    """A call's inputs or outputs do not fit the resident model."""


class InvalidTensor(InvalidRequest):
    """A tensor's type, shape and values do not belong together, or are not what the model takes."""


class InvalidImage(InvalidRequest):
    """Bytes that are not a complete JPEG, PNG, GIF or BMP image within the size limits."""


class UnknownModel(UserError):
    """The model name or version of a call is not the resident one."""

    status = "NOT_FOUND"


class MethodUnknown(UserError):
    """A call names a method, or a task's method, that this runtime does not have."""

    status = "UNIMPLEMENTED"


class UnknownSignature(UserError):
    """The signature name of a call is not one the resident model has."""

    status = "FAILED_PRECONDITION"


class Overloaded(UserError):
    """The service has no room for the call now; later, or against another replica, it may succeed."""

    status = "RESOURCE_EXHAUSTED"


class DeadlinePassed(UserError):
    """The time a call had ended before its answer was ready."""

    status = "DEADLINE_EXCEEDED"


class AddressInvalid(UserError):
    """A client was given no address, or one with a path, an unknown scheme or a broken port."""


class ServiceUnreachable(UserError):
    """Nothing answered at the address within the time given, or the service is not serving yet."""

    status = "UNAVAILABLE"


class KeyRefused(UserError):
    """The service needs a key and did not get one it knows."""

    status = "UNAUTHENTICATED"


class UnknownProfile(UserError):
    """There is no number format profile of that name; the message lists those there are."""


class NotFinite(UserError):
    """NaN or infinity where block floating point holds finite values only."""


class ServiceFailed(InternalError):
    """The service answered with a failure that is not the caller's; its log has the request id."""


class EngineUnavailable(UserError):
    """The native engine is not built, or does not take this machine, network or number format."""

    status = "FAILED_PRECONDITION"


class DetectionInvalid(UserError):
    """A detector's outputs are incomplete or misshapen, or thresholds are out of range; all problems are listed."""
