"""Kubeconfig files: which context is meant, and a client of the official library for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from accelform import project
from accelform.errors import ContextUnknown, KubeconfigUnusable

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

RETRIES: Final = 2
"""New tries to reach a server, and after a 429, which is refused before anything was done."""


def files(kubeconfig: str) -> str:
    """The files that `kubeconfig` means, joined by os.pathsep; a relative path starts at the project's root.

    Empty means what it means to kubectl: $KUBECONFIG, or else ~/.kube/config.
    """
    if kubeconfig:
        return os.pathsep.join(str(project.resolve(part)) for part in kubeconfig.split(os.pathsep) if part)
    return os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")


def contexts(kubeconfig: str) -> tuple[list[str], str]:
    """The names of every context, and that of the current one (empty where none is set). Raises KubeconfigUnusable."""
    config = _read(files(kubeconfig))
    names = [str(row.value["name"]) for row in config.value["contexts"]]
    return names, str(config.value.get("current-context") or "")


def client(kubeconfig: str, context: str) -> tuple[ApiClient, str]:
    """A client for `context` (empty: the current one) and the context's name.

    Raises KubeconfigUnusable, ContextUnknown.
    """
    import urllib3
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import ConfigException
    from kubernetes.config.kube_config import KubeConfigLoader

    where = files(kubeconfig)
    names, current = contexts(kubeconfig)
    listed = f"it has {', '.join(names)}" if names else "it has none"
    if not context and not current:
        raise ContextUnknown(f"kubeconfig {where} has no current context; set kube_context to one of its own: {listed}")
    chosen = context or current
    if chosen not in names:
        raise ContextUnknown(f"kubeconfig {where} has no context {chosen!r}; {listed}")
    configuration = Configuration()
    configuration.retries = urllib3.Retry(
        total=RETRIES,
        read=0,
        redirect=0,
        allowed_methods=None,
        status_forcelist=(429,),
        backoff_factor=0.2,
        raise_on_status=False,
    )
    try:
        KubeConfigLoader(config_dict=_read(where), active_context=chosen).load_and_set(configuration)
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        raise KubeconfigUnusable(f"kubeconfig {where} cannot be used for context {chosen!r}: {error}") from error
    return ApiClient(configuration), chosen


def _read(where: str) -> Any:
    import yaml
    from kubernetes.config import ConfigException
    from kubernetes.config.kube_config import KubeConfigMerger

    try:
        config = KubeConfigMerger(where).config
    except OSError as error:
        raise KubeconfigUnusable(f"kubeconfig {where} cannot be read: {error.strerror or error}") from error
    except (ConfigException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise KubeconfigUnusable(f"{where} is not a kubeconfig: {' '.join(str(error).split())}") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise KubeconfigUnusable(f"{where} is not a kubeconfig: it needs clusters, contexts and users") from error
    if config is None:
        raise KubeconfigUnusable(f"there is no kubeconfig at {where}; name one with the setting kubeconfig")
    return config
