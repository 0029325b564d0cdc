"""pip and uv, without what would change what they install: a user says where packages come from, the lock says which.

pip brings uv into an environment, uv everything else. What a user has told pip about indexes, proxies and certificates
holds for both, from its files and from the environment; what they have told uv holds for uv.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tools.folders import usable
from tools.progress import StepFailed

# pip's settings, without their section: the variable with which uv takes the same.
ORIGINS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
    "keyring-provider": "UV_KEYRING_PROVIDER",
    "no-index": "UV_NO_INDEX",
}
CACHE = ("cache-dir", "no-cache-dir")
# uv's own settings that say where packages come from and how they are fetched and kept.
KEPT = re.compile(
    r"UV_(DEFAULT_INDEX|INDEX\w*|EXTRA_INDEX_URL|FIND_LINKS|INSECURE_HOST|KEYRING_PROVIDER|NATIVE_TLS|SYSTEM_CERTS"
    r"|HTTP_\w+|REQUEST_TIMEOUT|CONCURRENT_\w+|CACHE_DIR|NO_CACHE|LINK_MODE|OFFLINE|NO_INDEX|CONFIG_FILE)"
)
FOREIGN = re.compile(r"(PIP|UV|PYTHON)[A-Z_]*")
SETTING = re.compile(r"^(?P<section>global|install|:env:)\.(?P<name>[\w-]+)=(?P<value>.+)$", re.MULTILINE)


def pip_command(python: Path) -> list[str]:
    """Return how pip is called: by its module, without a user's Python settings."""
    return [str(python), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]


def pip_settings(python: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what a user has told pip about where packages come from, as `index-url` and so on."""
    answer = subprocess.run(
        [*pip_command(python), "config", "list"], env=environ, capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise StepFailed(f"pip cannot read its configuration; correct it (pip config debug):\n{answer.stderr.strip()}")
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    listed = [
        (row["section"], row["name"], str(ast.literal_eval(row["value"]))) for row in SETTING.finditer(answer.stdout)
    ]
    for section, name, value in [*listed, *_named_file(environ)]:
        name = name.removeprefix("default-") if name == "default-timeout" else name
        if name in ORIGINS or name in CACHE:
            sections[section][name] = value
    return sections["global"] | sections["install"] | sections[":env:"]


def _named_file(environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """What stands in the file that PIP_CONFIG_FILE names, which pip reads and does not list."""
    content = configparser.RawConfigParser()
    content.read(environ.get("PIP_CONFIG_FILE") or os.devnull, encoding="utf-8")
    sections = (section for section in ("global", "install") if content.has_section(section))
    return [(section, name.replace("_", "-"), value) for section in sections for name, value in content.items(section)]


def for_pip(settings: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return pip's environment: no files of settings, and of the settings only these."""
    told = {f"PIP_{name.replace('-', '_').upper()}": value for name, value in settings.items()}
    return _without_foreign(environ) | {"PIP_CONFIG_FILE": os.devnull} | told


def for_uv(settings: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return uv's environment: pip's settings in its words, unless it has some of its own.

    Raises StepFailed where uv has nowhere to keep what it fetches.
    """
    environment = _without_foreign(environ)
    told = {ORIGINS[name]: _in_uv_words(name, value) for name, value in settings.items() if name in ORIGINS}
    if "UV_KEYRING_PROVIDER" in told and told["UV_KEYRING_PROVIDER"] != "subprocess":
        del told["UV_KEYRING_PROVIDER"]
    if "UV_INDEX" in told:
        # As pip has it: all indexes count alike. The hashes in the lock say what may come from them.
        told["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    for name in [name for name in told if name in environment]:
        del told[name]
    kept = {name: value for name, value in environ.items() if KEPT.fullmatch(name)}
    if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"}.isdisjoint(kept):
        told.pop("UV_DEFAULT_INDEX", None)
    configuration = {} if "UV_CONFIG_FILE" in kept else _own_configuration(environ)
    # As pip does: certificates that the machine trusts are trusted.
    trusted = {} if "UV_NATIVE_TLS" in kept else {"UV_SYSTEM_CERTS": "1"}
    return environment | told | trusted | configuration | kept | _cache(environment | kept)


def _without_foreign(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not FOREIGN.fullmatch(name)}


def _in_uv_words(name: str, value: str) -> str:
    separator = "," if name == "find-links" else " "
    return separator.join(value.split())


def _own_configuration(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's or the machine's file, and none that lies in a folder around the checkout."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", ""), ".config")
    files = (Path(home, "uv", "uv.toml"), Path("/etc/uv/uv.toml"))
    found = next((file for file in files if file.is_absolute() and file.is_file()), None)
    return {"UV_CONFIG_FILE": str(found)} if found else {"UV_NO_CONFIG": "1"}


def _cache(environ: Mapping[str, str]) -> dict[str, str]:
    """Nothing where uv can keep what it fetches, else that it keeps nothing."""
    if "UV_NO_CACHE" in environ:
        return {}
    base = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", ""), ".cache")
    folder = Path(environ.get("UV_CACHE_DIR") or os.path.join(base, "uv"))
    return {} if folder.is_absolute() and usable(folder) else {"UV_NO_CACHE": "1"}
