"""The `solar` command: `solar chat "…"`, `solar usage`, `solar account`. Reads SOLAR_API_KEY and SOLAR_BASE_URL.

The answer streams to stdout, what it cost goes to stderr, so that `solar chat "…" > file` keeps the text alone. `--json` is for machines.
Exit: 0, 1 where the call failed (one line on stderr says why), 2 for a wrong command line or a missing key, 130 on Ctrl-C.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .answers.replies import Reply
from .client import Solar
from .core.operations import DEFAULT_CHAT_MODEL, ChatOptions
from .errors import ConfigurationError, SolarError

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives the exit code."""
    asked = _parser().parse_args(arguments)
    run: Callable[[Solar, argparse.Namespace], None] = asked.run
    try:
        with Solar(timeout_s=asked.timeout_s) as client:
            run(client, asked)
    except ConfigurationError as error:
        return _failed(error, 2)
    except SolarError as error:
        return _failed(error, 1)
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _failed(error: SolarError, code: int) -> int:
    print(f"\nsolar: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="solar", description="Talk to Solar through the gateway.")
    parser.add_argument("--timeout-s", type=float, default=None, help="total seconds of the call (default 600)")
    commands = parser.add_subparsers(required=True, metavar="chat | usage | account")
    chat = commands.add_parser("chat", help="ask a question; the answer streams")
    chat.add_argument("prompt", help='the question, or "-" to read it from stdin')
    chat.add_argument("--model", default=DEFAULT_CHAT_MODEL)
    chat.add_argument("--system", default=None, help="a system message before the question")
    chat.add_argument("--max-tokens", type=int, default=None)
    chat.add_argument("--json", action="store_true", help="the whole answer as one JSON object")
    chat.set_defaults(run=_chat)
    usage = commands.add_parser("usage", help="what the account used, by default in the running month")
    usage.add_argument("--from", dest="from_", default=None, metavar="DAY", help="first day, such as 2026-11-01")
    usage.add_argument("--to", default=None, metavar="DAY", help="the day after the last")
    usage.add_argument("--by", choices=("day", "model", "key"), default="model")
    usage.add_argument("--json", action="store_true")
    usage.set_defaults(run=_usage)
    account = commands.add_parser("account", help="tier, discount, limits, free tokens left")
    account.add_argument("--json", action="store_true")
    account.set_defaults(run=_account)
    return parser


def _chat(client: Solar, asked: argparse.Namespace) -> None:
    prompt = sys.stdin.read() if asked.prompt == "-" else asked.prompt
    system = [{"role": "system", "content": asked.system}] if asked.system else []
    options = ChatOptions(model=asked.model, messages=[*system, {"role": "user", "content": prompt}])
    if asked.max_tokens is not None:
        options["max_tokens"] = asked.max_tokens
    if asked.json:
        _print_json(client.chat(**options).raw)
        return
    with client.chat(stream=True, **options) as stream:
        for piece in stream:
            print(piece, end="", flush=True)
    print(flush=True)
    print(_price_line(stream.reply), file=sys.stderr)


def _price_line(reply: Reply) -> str:
    usage = reply.usage
    counts = (
        ""
        if usage is None
        else f"{usage.input_tokens} + {usage.cached_input_tokens} cached in, {usage.output_tokens} out · "
    )
    cost = "no price told" if reply.cost is None else f"{reply.cost} {reply.currency}"
    return f"[{reply.model} · {counts}{cost} · {reply.call_id}]"


def _usage(client: Solar, asked: argparse.Namespace) -> None:
    report = client.usage(from_=asked.from_, to=asked.to, group_by=asked.by)
    if asked.json:
        _print_json(report.raw)
        return
    rows = [(row.group or "", row) for row in report.data] + [("total", report.total)]
    width = max(len(asked.by), *(len(name) for name, _ in rows))
    print(
        f"{asked.by:<{width}}  {'calls':>9}  {'input':>13}  {'cached':>13}  {'output':>13}  {'cost ' + report.currency:>18}"
    )
    for name, row in rows:
        counts = f"{row.calls:>9,}  {row.input_tokens:>13,}  {row.cached_input_tokens:>13,}  {row.output_tokens:>13,}"
        print(f"{name:<{width}}  {counts}  {row.cost!s:>18}")
    if not report.complete:
        print("Some calls may not be counted yet.", file=sys.stderr)


def _account(client: Solar, asked: argparse.Namespace) -> None:
    account = client.account()
    if asked.json:
        _print_json(account.raw)
        return
    facts: dict[str, Any] = {
        "account": f"{account.name} ({account.id}, {account.kind}, {account.status})",
        "tier": f"{account.tier}, discount {account.discount}",
        "free tokens": "none" if account.grant_tokens_left is None else f"{account.grant_tokens_left:,}",
        "limits": f"{account.limits.requests_per_minute or 'no'} requests/min, {account.limits.tokens_per_minute or 'no'} tokens/min, "
        f"{account.limits.concurrency or 'no'} at once",
        "monthly cap": account.monthly_cap,
        "month to date": None
        if account.month_to_date is None
        else f"{account.month_to_date.cost} {account.month_to_date.currency}",
    }
    for name, value in facts.items():
        print(f"{name:<14} {'none' if value is None else value}")


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    sys.exit(main())
