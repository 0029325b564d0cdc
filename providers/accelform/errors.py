"""Accelform's errors.

    AccelformError
    ├── UserError            the person who declares the stack can fix it
    │   ├── StoreLocationError   the store's url, key or name cannot be used
    │   ├── StoreFull            no space (or quota) left where the store lives
    │   ├── StoreDenied          the store refuses these credentials or this account
    │   ├── StoreCorrupt         something in the store was changed from outside
    │   ├── WorkspaceConflict    the store already holds a different workspace
    │   ├── NotOwner             another stack owns this version, edge box or service
    │   ├── ImageCorrupt         an image's content does not match its digests, or is unsafe to unpack
    │   ├── ModelSourceMissing   a model file, or a file it names, is not there or not readable
    │   ├── NotAModel            the file is not a featurizer specification
    │   ├── InvalidFeaturizerSpec    the specification has problems, all listed
    │   ├── InvalidWeights       arrays are missing or have wrong shapes, types or values
    │   ├── UnknownTensor        a tensor was asked for that the model doesn't have
    │   ├── UnsafeModel          a model file carries what would run, or reach outside, when it is loaded
    │   ├── TensorFlowMissing    no Python with TensorFlow to read its files with
    │   ├── ImportFailed         TensorFlow could not read the files, or took too much memory or time
    │   ├── UnknownNumberFormat  no number format profile of that name
    │   ├── WeightsUnreadable    a weight file is damaged, unsafe, too large or of an unsupported format
    │   ├── DownloadUnavailable  published weights can't be fetched from here
    │   ├── BoxUnusable          an edge box cannot be made with these values
    │   ├── BoxMissing           an edge box, or a service on it, is not there
    │   ├── BoxInUse             an edge box cannot lose FPGAs that services hold
    │   ├── BoxDamaged           something in an edge box's folder was changed from outside
    │   ├── BoxFull              no space left where an edge box lives
    │   ├── InvalidServiceSpec   a service has settings that cannot be
    │   ├── NoFpgaFree           every FPGA of an edge box has a resident service
    │   ├── PortInUse            a service's port is taken
    │   ├── KubeconfigUnusable   a kubeconfig is missing, unreadable or not one
    │   ├── ContextUnknown       a kubeconfig has no such context
    │   ├── ClusterDenied        a cluster refuses the credentials, or its user lacks rights
    │   ├── ClusterRefused       a cluster does not accept an object, by its schema or its own rules
    │   ├── ClusterChanged       a kubeconfig leads to another cluster than the one that holds the pool
    │   ├── NoNodeFree           a cluster has too few machines that a pool could claim
    │   ├── PoolInUse            a pool cannot lose machines whose FPGAs are in use
    │   ├── QuotaExceeded        a region's quota does not suffice for a pool
    │   ├── PulumiMissing        there is no Pulumi CLI to ask
    │   ├── StackUnreadable      a stack is missing, locked away or not deployed
    │   ├── TlsFileUnusable      a certificate or private key for a service cannot be read
    │   ├── NoToken              a stack's service takes no tokens
    │   ├── ScoreInputUnreadable  a file for `accelform score` is not there or not readable
    │   ├── CalibrationUnusable  images to measure fidelity on are missing, damaged or don't fit the model
    │   ├── TrainingUnavailable  TensorFlow is not installed, or Keras runs on something else
    │   ├── ReferenceInvalid     an image reference cannot be read, or is not by digest where it must be
    │   ├── RegistryDenied       a registry refuses these credentials, or they may not do this
    │   ├── RegistryUntrusted    a registry's certificate is not one that is trusted here
    │   ├── RegistryRefused      a registry does not take a name, a manifest or what was sent
    │   ├── BaseImageUnusable    a base image is missing, for another machine, or without the right Python
    │   ├── BuilderUnusable      there is no such program to build images with
    │   └── NoDefaultClassifier  the network family gives predictions itself, or has no published classifier
    └── InternalError        Accelform or its surroundings failed
        ├── ObjectExists         a conditional create found the key taken
        ├── ObjectMissing        the object is not in the store
        ├── StoreUnreachable     the store did not answer or failed
        ├── RegistryUnreachable  a registry did not answer, or failed
        ├── BuilderFailed        a program that builds images did not
        ├── RuntimeLayerError    the installed runtime cannot be packed
        ├── ClusterUnreachable   an API server did not answer or failed
        ├── ClusterConflict      an object in a cluster exists already, or was changed at the same time
        ├── ClusterObjectMissing an object in a cluster is gone
        ├── PoolNotReady         a pool's FPGAs did not appear in time
        ├── BoxBusy              another command is changing the edge box
        ├── SupervisorFailed     an edge box's supervisor did not start or obey
        └── ServiceNotReady      a deployed service did not answer SERVING

Every message says what failed, on which object, why, and what to do next.
"""

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
    """The version, edge box or service belongs to another stack, so this stack may not change or remove it."""


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


class WeightsUnreadable(UserError):
    """A weight file that is damaged, unsafe to read, too large, or of an unsupported format."""


class DownloadUnavailable(UserError):
    """Published weights can't be fetched: no network, no such file, or not what was expected."""


class BoxUnusable(UserError):
    """An edge box cannot be made with these values or in this folder."""


class BoxMissing(UserError):
    """There is no edge box in that folder, or no such service on it."""


class BoxInUse(UserError):
    """Services hold FPGAs that the edge box would lose."""


class BoxDamaged(UserError):
    """A record in an edge box's folder is not what Accelform wrote."""


class BoxFull(UserError):
    """No space or quota is left where the edge box lives; the service that ran before still runs."""


class InvalidServiceSpec(UserError):
    """A service has settings that cannot be; the message lists all of them and never a key."""


class NoFpgaFree(UserError):
    """Every FPGA of the edge box has a resident; the message names them."""


class PortInUse(UserError):
    """Another service or program listens on the service's port."""


class BoxBusy(InternalError):
    """Another command was still changing the edge box when the wait for it ended."""


class SupervisorFailed(InternalError):
    """An edge box's supervisor did not start, or did not do what it was told."""


class ServiceNotReady(InternalError):
    """A service did not answer SERVING; the message has its server's last words."""


class KubeconfigUnusable(UserError):
    """A kubeconfig is missing, cannot be read, or is not one."""


class ContextUnknown(UserError):
    """A kubeconfig has no context of that name, or none is chosen; the message lists those it has."""


class ClusterDenied(UserError):
    """A cluster does not accept the credentials, or their user lacks rights; the message names verb and resource."""


class ClusterRefused(UserError):
    """A cluster does not accept an object: its schema, an admission rule or a webhook says no."""


class ClusterChanged(UserError):
    """The kubeconfig's context leads to another cluster than the one that holds the pool."""


class ClusterUnreachable(InternalError):
    """A cluster's API server did not answer, is not trusted, or failed."""


class ClusterConflict(InternalError):
    """An object in a cluster exists already, or somebody changed it at the same time."""


class ClusterObjectMissing(InternalError):
    """An object in a cluster is gone."""


class NoNodeFree(UserError):
    """A cluster has too few machines that a pool could claim; the message says why the others won't do."""


class PoolInUse(UserError):
    """Pods use FPGAs of machines that a pool would lose; the message names them."""


class QuotaExceeded(UserError):
    """A region's quota of vCPUs does not suffice for a pool; the message says how to ask for more."""


class PoolNotReady(InternalError):
    """Machines of a pool did not offer their FPGAs in time."""


class PulumiMissing(UserError):
    """The Pulumi CLI is not on PATH and the project has not set up its own."""


class StackUnreadable(UserError):
    """Pulumi knows no such stack, cannot decrypt it, or nothing is deployed by it."""


class TlsFileUnusable(UserError):
    """A certificate, private key or authority file for a service cannot be read, or changed while it was deployed."""


class NoToken(UserError):
    """A token was asked for, and the stack's service does not take tokens."""


class ScoreInputUnreadable(UserError):
    """An image, key or label file given to `accelform score` is not there or not readable."""


class CalibrationUnusable(UserError):
    """Images to measure fidelity on are missing, damaged, or don't fit what the model reads."""


class TrainingUnavailable(UserError):
    """Fine-tuning needs TensorFlow with Keras on it, which this Python does not have."""


class NoDefaultClassifier(UserError):
    """A classifier was asked for on a network that gives its predictions itself."""


class UnsupportedModel(UserError):
    """A network that cannot be served: unsupported operators, sizes or inputs; the message names the first of them."""


class UnsafeModel(UserError):
    """A model file carries what would be executed, or would reach outside it, when it is loaded; it was not loaded."""


class TensorFlowMissing(UserError):
    """No Python with TensorFlow and tf2onnx was found to read TensorFlow's and Keras's files with."""


class ImportFailed(UserError):
    """TensorFlow could not read a model's files, or needed more memory or time than it was given."""


class ReferenceInvalid(UserError):
    """An image reference that cannot be read, or that names no digest where one is needed."""


class RegistryDenied(UserError):
    """A registry refuses the credentials, or whoever they are of may not do this; the message never has them."""


class RegistryUntrusted(UserError):
    """A registry's certificate is not signed by an authority that is trusted here, or is for another name."""


class RegistryRefused(UserError):
    """A registry answered that it does not take a name, a manifest or what was sent."""


class BaseImageUnusable(UserError):
    """A base image that is missing, for another machine, or without the Python that the runtime needs."""


class BuilderUnusable(UserError):
    """There is no such program to build images with here, or it is too old."""


class RegistryUnreachable(InternalError):
    """A registry did not answer, broke off or failed; trying again may help."""


class BuilderFailed(InternalError):
    """A program that builds images failed; the message has its last words."""
