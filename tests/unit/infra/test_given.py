"""What a stack sets before it is read: names that nobody reads, and secrets that would not stay any."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pulumi
import pytest
from tests.unit.infra.given import DECLARED, ROOT, GivenConfig

from settings import Settings, SettingsInvalid

SECRETS = {"primary_key", "secondary_key", "registry_pull_config"}
FIELDS = [field.name for field in dataclasses.fields(Settings)]
SHOWN = "6f1d0c3b"


@pytest.fixture(autouse=True)
def _configuration(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The program runs in its folder, and its configuration is gone afterwards."""
    monkeypatch.chdir(ROOT / "infra")
    yield
    pulumi.runtime.set_all_config({}, [])


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("accelform:enigne", "there is no setting 'enigne'; did you mean 'engine'?"),
        ("accelform:modelPath", "did you mean 'model_path'?"),
        ("accelform:autoscale.enabled", "did you mean 'autoscale_enabled'?"),
        ("accelform:xyzzy", "there is no setting 'xyzzy'. Remove it"),
        ("accelfrom:engine", "accelfrom:engine is read by nobody"),
        ("accel:port", "begin with accelform:"),
    ],
)
def test_a_name_that_nobody_reads_is_refused(key: str, words: str) -> None:
    """With the known name that is written most like it, and together with everything else that is wrong."""
    pulumi.runtime.set_all_config({key: "native"})

    with pytest.raises(SettingsInvalid) as refusal:
        Settings.load(GivenConfig(location="mars"))

    assert words in str(refusal.value)
    assert "2 problem(s)" in str(refusal.value)


def test_other_programs_settings_are_theirs() -> None:
    """Providers have namespaces of their own."""
    pulumi.runtime.set_all_config({"kubernetes:context": "x", "pulumi:tags": "{}", "azure:location": "mars"})

    assert Settings.load(GivenConfig()).location == "eastus"


@pytest.mark.parametrize("name", FIELDS)
def test_a_secret_stays_one_or_is_refused_as_one(name: str) -> None:
    """Whatever is set with --secret is passed on as a secret, or refused with the reason and without its value."""
    pulumi.runtime.set_all_config({}, [f"accelform:{name}"])
    text = SHOWN if not isinstance(DECLARED.get(name, {}).get("default"), int) else "60613"

    if name in SECRETS:
        assert Settings.load(GivenConfig())
        return
    with pytest.raises(SettingsInvalid) as refusal:
        Settings.load(GivenConfig(**{name: text}))

    assert f"{name} is set as a secret, but it is shown" in str(refusal.value)
    assert "1 problem(s)" in str(refusal.value)
    assert text not in str(refusal.value)


def test_types_values_files_and_the_model_are_told_together() -> None:
    """What cannot be read does not hide what can be, and the model is looked at although settings are wrong."""
    with pytest.raises(SettingsInvalid) as refusal:
        Settings.load(
            GivenConfig(
                port="many",
                image_name="Loud",
                drain_seconds=-1,
                model_path="examples/nowhere.yaml",
                number_format="bw-a99",
                calibration_images="examples/nowhere",
                ssl_enabled=True,
                ssl_cert_pem_file="no.pem",
                ssl_key_pem_file="no.pem",
            )
        )

    told = str(refusal.value)
    for words in (
        "port must be a whole number",
        "'loud' would do",
        "drain_seconds must be between",
        "nowhere.yaml",
        "bw-a10-cnn",
        "examples/nowhere is not there",
        "no.pem cannot be read",
    ):
        assert words in told
    assert told.count("nowhere.yaml") == 1


def test_a_wrong_model_alone_waits_for_its_resource() -> None:
    """Reading it twice in every preview would cost time: only a missing file, or another mistake, has it read here."""
    assert Settings.load(GivenConfig(model_path="examples/digits/labels.txt")).model_path


def test_a_wrong_model_is_told_with_a_wrong_setting() -> None:
    """A file that is no model is named beside the setting."""
    with pytest.raises(SettingsInvalid) as refusal:
        Settings.load(GivenConfig(model_path="examples/digits/labels.txt", location="mars"))

    assert "labels.txt" in str(refusal.value)
    assert "region 'mars'" in str(refusal.value)
