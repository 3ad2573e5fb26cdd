"""Ask many prompts, a bounded number at a time, with progress; stop it anywhere and start it again: nothing is asked twice.

    python batch.py prompts.txt answers.jsonl --at-once 16

One prompt a line in, one JSON object a line out: {"line", "text", "cost", "currency", "call_id"} or {"line", "error"}. Each line's
Idempotency-Key is made of the file's name, the line and its text, so that a prompt that was under way when the program died is
not charged twice by a gateway that still remembers it. Failed lines are asked again at the next start.
"""

import argparse
import asyncio
import hashlib
import json
import sys
from pathlib import Path

from solar_sdk import AsyncSolar, SolarError, meter


def done_lines(answers: Path) -> set[int]:
    """The lines that have an answer already. A line cut off by a crash is none."""
    done = set()
    for text in answers.read_text(encoding="utf-8").splitlines() if answers.exists() else ():
        try:
            row = json.loads(text)
        except ValueError:
            continue
        if "text" in row:
            done.add(int(row["line"]))
    return done


async def ask(client: AsyncSolar, name: str, line: int, prompt: str, model: str) -> dict[str, object]:
    key = hashlib.sha256(f"{name}\n{line}\n{model}\n{prompt}".encode()).hexdigest()
    try:
        reply = await client.chat(prompt, model=model, idempotency_key=key)
    except SolarError as error:
        return {"line": line, "error": str(error)}
    return {
        "line": line,
        "text": reply.text,
        "cost": str(reply.cost),
        "currency": reply.currency,
        "call_id": reply.call_id,
    }


def lines_of(prompts: Path) -> list[tuple[int, str]]:
    return list(enumerate(prompts.read_text(encoding="utf-8").splitlines()))


async def run(lines: list[tuple[int, str]], name: str, answers: Path, at_once: int, model: str) -> int:
    """Ask what is not answered yet; gives how many lines failed."""
    done = done_lines(answers)
    waiting = iter([(line, prompt) for line, prompt in lines if line not in done and prompt.strip()])
    finished, failed = len(done), 0
    with answers.open("a", encoding="utf-8") as out, meter() as spent:
        async with AsyncSolar() as client:

            async def worker() -> None:
                nonlocal finished, failed
                for line, prompt in waiting:  # shared by all workers: each takes the next one
                    row = await ask(client, name, line, prompt, model)
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
                    out.flush()
                    finished += "text" in row
                    failed += "error" in row
                    print(
                        f"\r{finished}/{len(lines)} answered, {failed} failed, {spent.cost} spent",
                        end="",
                        file=sys.stderr,
                    )

            await asyncio.gather(*(worker() for _ in range(at_once)))
    print(file=sys.stderr)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--model", default="solar-mini4")
    asked = parser.parse_args()
    lines = lines_of(asked.prompts)
    return 1 if asyncio.run(run(lines, asked.prompts.name, asked.answers, asked.at_once, asked.model)) else 0


if __name__ == "__main__":
    sys.exit(main())
