"""`accelform token`: what it signs, and how long that is good."""

from __future__ import annotations

import argparse

import jwt
import pytest

from accelform.cli import token
from accelform.errors import NoToken
from accelform_runtime import tokens


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("24h", 86400)])
def test_lifetimes(text, seconds):
    """A lifetime is a number with s, m or h."""
    assert token._seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "1", "h", "1.5h", "25h", "-1h", "1d", "1h30m"])
def test_no_lifetime(text):
    """Anything else, and more than a day, is refused with the form to write."""
    with pytest.raises(argparse.ArgumentTypeError, match="write it like 90s, 15m or 1h"):
        token._seconds(text)


def test_a_token_is_for_the_stacks_service():
    """It is signed with the stack's key, for its service alone, and ends after the lifetime."""
    key = tokens.generate_signing_key()
    outputs = {"token_signing_key": key.private_pem, "service_name": "digits"}

    minted = token.mint(outputs, stack="edge", lifetime_seconds=60)

    claims = jwt.decode(minted, key.public_pem, algorithms=["EdDSA"], audience="digits")
    assert claims["exp"] - claims["iat"] == 60


def test_a_service_without_tokens_says_how_to_get_them():
    """Where the service takes keys or nothing, the way to tokens is told; a damaged key is not repeated."""
    with pytest.raises(NoToken, match="token_auth_enabled true"):
        token.mint({"token_signing_key": "", "service_name": "digits"}, stack="edge", lifetime_seconds=60)
    with pytest.raises(NoToken) as damaged:
        token.mint({"token_signing_key": "secret-secret", "service_name": "digits"}, stack="edge", lifetime_seconds=60)
    assert "secret-secret" not in str(damaged.value)
