"""Tokens: what is in one, which keys are taken, and that a server needs no library for them."""

from __future__ import annotations

import stat
import subprocess
import sys
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from accelform_runtime.errors import ConfigInvalid, TokenKeysInvalid
from accelform_runtime.tokens import (
    generate_signing_key,
    mint,
    public_pem,
    read_token_keys_file,
    write_token_keys_file,
)


def ec_key_pem() -> str:
    """A private key of the wrong kind."""
    return (
        generate_ec_key(SECP256R1())
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def test_token_says_service_issue_and_end():
    """A token is signed with Ed25519 and names one service, its issue and its end, and nothing else."""
    key = generate_signing_key()
    before = int(time.time())

    token = mint(key.private_pem, "digits", lifetime_seconds=600)

    claims = jwt.decode(token, key.public_pem, algorithms=["EdDSA"], audience="digits")
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "JWT"}
    assert set(claims) == {"aud", "iat", "exp"}
    assert before <= claims["iat"] <= time.time()
    assert claims["exp"] - claims["iat"] == 600


def test_keys_belong_together():
    """The public key of a private one is always the same; two generated pairs never are."""
    first, second = generate_signing_key(), generate_signing_key()

    assert public_pem(first.private_pem) == first.public_pem != second.public_pem
    assert first.private_pem not in repr(first)


@pytest.mark.parametrize("lifetime", [0, -1, 86401])
def test_lifetimes_no_service_takes(lifetime):
    """A token for longer than a day, or for no time, is not made."""
    with pytest.raises(ConfigInvalid, match=r"86400 seconds \(a day\)"):
        mint(generate_signing_key().private_pem, "digits", lifetime)


def test_token_for_no_service():
    """A token without a service would open none."""
    with pytest.raises(ConfigInvalid, match="service's name"):
        mint(generate_signing_key().private_pem, "")


def test_keys_that_cannot_sign():
    """A signing key of another kind, damaged, public or with a passphrase is refused and not repeated."""
    key = generate_signing_key()
    locked = load_pem_private_key(key.private_pem.encode(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    unfit = {
        "not Ed25519": ec_key_pem(),
        "damaged": key.private_pem[:60],
        "no key": key.public_pem,
        "no key at all": "ümlaut",
        "passphrase": locked.decode(),
    }
    for words, pem in unfit.items():
        with pytest.raises(TokenKeysInvalid, match=words) as raised:
            mint(pem, "digits")
        assert pem.splitlines()[-1] not in str(raised.value)


def test_token_keys_file(tmp_path):
    """Everybody may read the file of public keys; it holds each key once it was given, and appears in one step."""
    path = tmp_path / "folder" / "tokens.pem"
    keys = [generate_signing_key().public_pem for _ in range(3)]

    write_token_keys_file(path, keys[:1])
    write_token_keys_file(path, [keys[0] + keys[1], keys[2]])

    assert read_token_keys_file(path) == keys
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_unfit_public_keys(tmp_path):
    """Only Ed25519 public keys come into the file; a private key is refused above all."""
    path = tmp_path / "tokens.pem"
    key = generate_signing_key()
    ec_public = load_pem_private_key(ec_key_pem().encode(), None).public_key()
    unfit = {
        "private key": [key.public_pem, key.private_pem],
        "not Ed25519": [
            ec_public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        ],
        "damaged": [key.public_pem[:-10]],
        "at least one": [],
        "no public key": ["nothing"],
        "something else": ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    }
    for words, pems in unfit.items():
        with pytest.raises(TokenKeysInvalid, match=words) as raised:
            write_token_keys_file(path, pems)
        assert str(path) in str(raised.value)
        assert key.private_pem.splitlines()[1] not in str(raised.value)
        assert not path.exists()


@pytest.mark.parametrize("content", [None, b"", b"nothing", b"\xff", b"-----BEGIN PUBLIC KEY-----\nMCow"])
def test_unreadable_files(tmp_path, content):
    """A missing or damaged file is told with its path and what to do."""
    path = tmp_path / "tokens.pem"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(TokenKeysInvalid, match="write it again with the Ed25519 public keys") as raised:
        read_token_keys_file(path)

    assert str(path) in str(raised.value)


def test_server_needs_no_library(tmp_path):
    """A server's image has neither PyJWT nor cryptography, and reads the keys of tokens all the same."""
    path = tmp_path / "tokens.pem"
    write_token_keys_file(path, [generate_signing_key().public_pem])
    program = (
        "import sys; sys.modules.update(jwt=None, cryptography=None)\n"
        "from pathlib import Path\n"
        "from accelform_runtime.tokens import read_token_keys_file\n"
        "print(len(read_token_keys_file(Path(sys.argv[1]))))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=True
    )

    assert answer.stdout.strip() == "1"
