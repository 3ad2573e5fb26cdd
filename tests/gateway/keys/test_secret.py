"""Secrets of keys: what they are made of, what is stored of them, what is shown."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from gateway.keys.secret import PREFIX, hash_of, new_secret, prefix_of


def test_a_secret_has_256_random_bits_after_its_prefix() -> None:
    secrets = {new_secret() for _ in range(500)}
    assert len(secrets) == 500
    for secret in secrets:
        assert re.fullmatch(r"sk-solar-[A-Za-z0-9_-]{43}", secret)
        assert len(base64.urlsafe_b64decode(secret.removeprefix(PREFIX) + "=")) == 32
    # Every position varies: no constant part hides in the random one.
    assert all(len(set(column)) > 10 for column in zip(*(secret[9:51] for secret in secrets), strict=True))


def test_the_hash_is_sha_256_and_tells_nothing_of_the_secret() -> None:
    secret = new_secret()
    stored = hash_of(secret)
    assert stored == hashlib.sha256(secret.encode()).hexdigest()
    assert secret.removeprefix(PREFIX) not in stored
    assert hash_of(secret + "x") != stored


@pytest.mark.parametrize("text", ["", "sk-", "Bearer sk-solar-x", "sk-proj-abc", "SK-SOLAR-x", PREFIX + "x" * 300])
def test_what_cannot_be_a_secret_has_no_hash(text: str) -> None:
    assert hash_of(text) is None


def test_bytes_that_are_no_text_have_a_hash_all_the_same() -> None:
    assert hash_of(PREFIX + "\udcff\xe9") is not None


def test_only_four_characters_of_a_secret_are_shown() -> None:
    secret = new_secret()
    assert prefix_of(secret) == secret[:13]
