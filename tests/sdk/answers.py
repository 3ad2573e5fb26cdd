"""Bodies as the gateway sends them (design.md section 3, upstage-api.md section 3; 2026-11-24), for the tests here."""

import json
from typing import Any

SNAPSHOT = "solar-pro4-260806"
PRICE_HEADERS = {"x-solar-cost": "0.00012345", "x-solar-currency": "USD"}
WIRE_USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 12,
    "total_tokens": 42,
    "prompt_tokens_details": {"cached_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


def completion(content: str | None = "안녕하세요!", **message: Any) -> dict[str, Any]:
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": SNAPSHOT,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": WIRE_USAGE,
    }


def event(payload: object) -> bytes:
    return f"data: {json.dumps(payload, ensure_ascii=False)}\n\n".encode()


def delta(finish_reason: str | None = None, index: int = 0, **fields: Any) -> bytes:
    choice = {"index": index, "delta": fields, "finish_reason": finish_reason}
    return event({"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": SNAPSHOT, "choices": [choice]})


USAGE_EVENT = event(
    {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "model": SNAPSHOT,
        "choices": [],
        "usage": {**WIRE_USAGE, "cost": "0.00012345", "currency": "USD"},
    }
)
DONE = b"data: [DONE]\n\n"
START = delta(role="assistant", content="")
TALE = (START, delta(content="안녕"), delta(content="하세요"), delta("stop"), USAGE_EVENT, DONE)

ROW = {
    "group": "solar-pro4",
    "calls": 2,
    "input_tokens": 40,
    "cached_input_tokens": 20,
    "output_tokens": 24,
    "pages": 0,
    "estimated_calls": 1,
    "list_cost": "0.30",
    "cost": "0.27",
}
TOTAL = {name: value for name, value in ROW.items() if name != "group"}
ACCOUNT = {
    "id": "a-1",
    "name": "한빛출판",
    "kind": "club",
    "currency": "KRW",
    "timezone": "Asia/Seoul",
    "status": "active",
    "monthly_cap": None,
    "prepaid_balance": "1000",
    "billing": "invoice",
    "limits": {"requests_per_minute": 60, "tokens_per_minute": None, "concurrency": 4},
    "tier": "1B",
    "discount": "0.20",
    "grant_tokens_left": 99,
    "month_to_date": {"cost": "12.340000000", "held": "0.000000000", "currency": "USD"},
    "added_later": True,
}
INVOICE = {
    "id": "i-1",
    "number": "2026-000001",
    "account_id": "a-1",
    "month": "2026-10",
    "status": "issued",
    "currency": "USD",
    "lines": [
        {
            "description": "solar-pro4 input",
            "model": "solar-pro4",
            "kind": "input",
            "quantity": 1000000,
            "unit_price": "0.30",
            "discount": "0.20",
            "exact_amount": "0.2400000",
            "amount": "0.24",
        }
    ],
    "grants_used": 5,
    "subtotal": "0.24",
    "tax": "0.02",
    "total": "0.26",
    "fx_rate": None,
    "issued_at": "2026-11-01T02:00:00Z",
}
SHARE = {
    "account_id": "a-1",
    "month": "2026-10",
    "pool": "100.00",
    "weight": "123456.5",
    "amount": "12.34",
    "carried_over": "0.00",
    "currency": "USD",
    "rule": "pro_rata",
}


def page(*rows: Any, after: str | None = None) -> dict[str, Any]:
    return {"data": list(rows), "next": after}
