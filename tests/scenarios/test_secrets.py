"""No secret and no prompt in any log line, file name or error of a full run."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.running import Gateway

PLANTED_PROMPT = "심청이의비밀-planted-prompt"
PLANTED_KEY = "sk-solar-planted-and-wrong-0123456789abcdef0123456789"


def test_the_logs_of_a_full_run_hold_neither_keys_nor_prompts_nor_answers(tmp_path: Path) -> None:
    with Gateway.started(tmp_path) as gateway:
        secret = gateway.new_key()
        answers = []
        for directive in ("tokens=5", "error=401:invalid_api_key", "error=500", "cut_after=1", "drop=1"):
            text = f"[[sim: {directive}]] {PLANTED_PROMPT}"
            for stream in (False, True):
                body = {"model": "solar-pro4", "stream": stream, "messages": [{"role": "user", "content": text}]}
                with gateway.caller(secret) as caller:
                    try:
                        answers.append(caller.post("/chat/completions", json=body).text)
                    except httpx.RemoteProtocolError:
                        continue
        wrong = {"authorization": f"Bearer {PLANTED_KEY}"}
        httpx.post(f"{gateway.url}/v1/chat/completions", json={}, headers=wrong, trust_env=False)
        httpx.get(f"{gateway.url}/operator/v1/accounts", headers=wrong, trust_env=False)
        token = gateway.operator_token
        passwords = [(tmp_path / f"{store}.password").read_text().strip() for store in ("postgres", "valkey")]
    whole = next(text for text in answers if '"object":"chat.completion"' in text)
    said = whole.partition('"content":"')[2].partition('"')[0]
    logs = "".join(path.read_text(errors="replace") for path in [*tmp_path.glob("*.log"), *tmp_path.glob("logs/*.log")])
    assert '"event":"call"' in logs
    for planted in (secret, secret[14:], PLANTED_KEY, PLANTED_PROMPT, token, said, *passwords):
        assert len(planted) > 8
        assert planted not in logs
    assert not any("up_sandbox" in answer for answer in answers)
