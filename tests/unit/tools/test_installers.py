"""pip's and uv's environments: where packages come from is the user's to say, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tools.installers import for_pip, for_uv, pip_settings


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """A user with settings in pip's file and in the environment, helpful ones and harmful ones."""
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://mirror.example/simple\ncert = /etc/mirror.pem\nuser = true\n"
        "[install]\nextra-index-url = https://a.example/simple\n  https://b.example/simple\ntarget = /nowhere\n",
        encoding="utf-8",
    )
    return {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "PIP_CONFIG_FILE": str(config),
        "PIP_DEFAULT_TIMEOUT": "90",
        "PIP_NO_DEPS": "1",
        "PIP_FIND_LINKS": "/wheels /more",
        "PYTHONHOME": "/nowhere",
        "UV_SYSTEM_PYTHON": "1",
        "UV_OVERRIDE": "/nowhere",
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "https_proxy": "http://proxy:3128",
    }


def test_pip_is_told_where_packages_come_from(user: dict[str, str]) -> None:
    """Indexes, certificates and times reach pip from a file and from variables; what would change an installation is
    left out."""
    found = for_pip(pip_settings(Path(sys.executable), user), user)
    assert found["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert found["PIP_CERT"] == "/etc/mirror.pem"
    assert found["PIP_TIMEOUT"] == "90"
    assert found["PIP_CONFIG_FILE"] == "/dev/null"
    assert found["https_proxy"] == "http://proxy:3128"
    assert {"PIP_USER", "PIP_TARGET", "PIP_NO_DEPS", "PYTHONHOME"}.isdisjoint(found)


def test_uv_is_told_the_same_in_its_words(user: dict[str, str]) -> None:
    """What pip's user has set up serves uv too, and uv's harmful settings go."""
    found = for_uv(pip_settings(Path(sys.executable), user), user)
    assert found["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert found["UV_INDEX"] == "https://a.example/simple https://b.example/simple"
    assert found["UV_FIND_LINKS"] == "/wheels,/more"
    assert found["UV_HTTP_TIMEOUT"] == "90"
    assert found["SSL_CERT_FILE"] == "/etc/mirror.pem"
    assert found["UV_CACHE_DIR"] == user["UV_CACHE_DIR"]
    assert "UV_NO_CACHE" not in found
    assert {"UV_SYSTEM_PYTHON", "UV_OVERRIDE", "PYTHONHOME", "PIP_NO_DEPS"}.isdisjoint(found)


def test_uv_s_own_settings_win(user: dict[str, str]) -> None:
    """Who has told uv about an index gets that one from uv."""
    found = for_uv({"index-url": "https://mirror.example/simple"}, user | {"UV_INDEX_URL": "https://uv.example/simple"})
    assert found["UV_INDEX_URL"] == "https://uv.example/simple"
    assert "UV_DEFAULT_INDEX" not in found


def test_configuration_around_the_checkout_is_not_read(user: dict[str, str]) -> None:
    """uv reads the user's own file where there is one, and never one of a folder around the checkout."""
    assert for_uv({}, user)["UV_NO_CONFIG"] == "1"
    own = Path(user["HOME"], ".config", "uv", "uv.toml")
    own.parent.mkdir(parents=True)
    own.touch()
    found = for_uv({}, user)
    assert found["UV_CONFIG_FILE"] == str(own)
    assert "UV_NO_CONFIG" not in found


def test_a_cache_that_cannot_be_written_is_gone_without(user: dict[str, str]) -> None:
    """Without a place to keep what it fetches, uv keeps nothing, and installs."""
    assert for_uv({}, user | {"UV_CACHE_DIR": "/dev/null/uv"})["UV_NO_CACHE"] == "1"
