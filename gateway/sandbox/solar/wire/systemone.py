"""POST /v1/systemone: Solar Decide, typed decisions (choice, score, noul).

Known (upstage-api.md section 4, 2026-11-23): choice has 2 to 26 options, else 422; noul leaves `criteria` out, null is refused;
output is not billed, and its count can pass the number of questions (here: questions + 1). The shapes of `criteria` (choice: an
object option → meaning; score: an array of 2 to 10 levels) are what llama.cpp's own /v1/systemone asks for (messages in xllamacpp
2026.10.11549); the answers' field names are assumed. Raises Refusal (400, 422). Unit: tokens.
"""

from typing import Any

import msgspec

from gateway.sandbox.solar.call import Answer, Inbound, Usage
from gateway.sandbox.solar.mind.models import DECIDE, find_plain
from gateway.sandbox.solar.mind.tokens import count
from gateway.sandbox.solar.refusals import INVALID_BODY, Refusal, bad_request
from gateway.sandbox.solar.wire.fields import Fields, as_fields, decode_object

OPTIONS_MIN, OPTIONS_MAX = 2, 26
LEVELS_MIN, LEVELS_MAX = 2, 10


def _unprocessable(message: str, where: str) -> Refusal:
    return Refusal(422, INVALID_BODY, message, param=where)


def _answer(question: Fields, where: str, drawn: bytes) -> dict[str, Any]:
    """Checks one question and decides it."""
    kind = question.required_text("type")
    question.required_text("instructions")
    criteria = question.values.get("criteria")
    confidence = round(0.5 + drawn[1] / 512, 4)
    if kind == "choice":
        if not isinstance(criteria, dict) or not OPTIONS_MIN <= len(criteria) <= OPTIONS_MAX:
            raise _unprocessable(f"'{where}.criteria' must have {OPTIONS_MIN} to {OPTIONS_MAX} options", where)
        return {"type": kind, "choice": sorted(criteria)[drawn[0] % len(criteria)], "confidence": confidence}
    if kind == "score":
        if not isinstance(criteria, list) or not LEVELS_MIN <= len(criteria) <= LEVELS_MAX:
            raise _unprocessable(f"'{where}.criteria' must be an array of {LEVELS_MIN} to {LEVELS_MAX} levels", where)
        return {"type": kind, "score": round(drawn[0] % len(criteria) + confidence - 0.5, 4), "confidence": confidence}
    if kind == "noul":
        if "criteria" in question.values and not isinstance(criteria, dict):
            raise _unprocessable(f"'{where}.criteria' must be an object or absent", where)
        return {"type": kind, "noul": drawn[0] % 2 == 0, "confidence": confidence}
    raise _unprocessable(f"'{where}.type' must be one of choice, score, noul", where)


def answer_systemone(inbound: Inbound) -> Answer:
    """The answer to a decision request."""
    request = Fields(decode_object(inbound.body))
    inbound.asked = request.required_text("model")
    state = request.values.get("state")
    state_text = state if isinstance(state, str) else msgspec.json.encode(state).decode()
    steer = inbound.read_steer(state_text)
    model = find_plain(inbound.asked, (DECIDE,))
    if state is None:
        raise bad_request("'state' is a required property", "state")
    questions = as_fields(request.values.get("questions"), "questions").values
    if not questions:
        raise bad_request("'questions' must be a non-empty object", "questions")
    answers = {
        name: _answer(as_fields(raw, f"questions.{name}"), f"questions.{name}", inbound.digest(name, state_text))
        for name, raw in questions.items()
    }
    prompt_tokens = count(state_text) + count(msgspec.json.encode(questions).decode())
    usage = Usage(prompt=prompt_tokens, completion=len(questions) + 1)
    body: dict[str, Any] = {"model": model.snapshot, "answers": answers}
    if not steer.no_usage:
        body["usage"] = {"input_tokens": usage.prompt, "output_tokens": usage.completion}
    return Answer(model.snapshot, usage, whole=msgspec.json.encode(body), has_usage=not steer.no_usage)
