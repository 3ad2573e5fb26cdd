"""Settings: from the environment, and from files as Docker and Kubernetes mount secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import SettingsError, read_settings


def test_a_secret_may_lie_in_a_file_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gateway_operator_token").write_text("op-from-a-file\n")
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(tmp_path))
    monkeypatch.delenv("GATEWAY_OPERATOR_TOKEN", raising=False)
    token = read_settings().operator_token
    assert token is not None
    assert token.get_secret_value() == "op-from-a-file"
    assert "op-from-a-file" not in repr(read_settings())


def test_the_environment_comes_before_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gateway_operator_token").write_text("op-from-a-file")
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("GATEWAY_OPERATOR_TOKEN", "op-from-the-environment")
    token = read_settings().operator_token
    assert token is not None
    assert token.get_secret_value() == "op-from-the-environment"


def test_a_folder_of_secrets_that_is_not_there_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="GATEWAY_SECRETS_DIR"):
        read_settings()
