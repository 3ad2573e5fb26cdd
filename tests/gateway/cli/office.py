"""An operator at the command line of a running gateway: the same commands, in this process or as the console script."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from gateway.cli import app
from tests.running import Gateway, command

_SCRIPT_S = 60
QUESTION = {"model": "solar-pro4", "max_tokens": 99, "messages": [{"role": "user", "content": "안녕?"}]}


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Office:
    """Commands with the environment that an operator has."""

    gateway: Gateway

    @property
    def environment(self) -> dict[str, str]:
        return {"GATEWAY_URL": self.gateway.url, "GATEWAY_OPERATOR_TOKEN": self.gateway.operator_token}

    def run(self, *words: str, given: str | None = None, environment: Mapping[str, str | None] | None = None) -> Said:
        """A command, whatever it comes to; a variable that is None is not set."""
        variables = {**self.environment, **(environment or {})}
        result = CliRunner().invoke(app, list(words), input=given, env=variables)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    def does(self, *words: str, given: str | None = None) -> str:
        """A command that succeeds: what it printed."""
        said = self.run(*words, given=given)
        assert said.code == 0, said.stderr
        return said.stdout

    def json(self, *words: str, given: str | None = None) -> Any:
        """A command that succeeds with `--json`, and says nothing beside it."""
        said = self.run(*words, "--json", given=given)
        assert (said.code, said.stderr) == (0, "")
        return said.json

    def refused(self, *words: str, environment: Mapping[str, str | None] | None = None) -> tuple[int, str]:
        """A command that fails: its exit code and its one line."""
        said = self.run(*words, environment=environment)
        assert said.stdout == ""
        assert said.stderr.startswith("error: ")
        assert said.stderr.count("\n") == 1
        return said.code, said.stderr.removeprefix("error: ").rstrip("\n")

    def script(self, *words: str, environment: Mapping[str, str] | None = None) -> Said:
        """The same as the installed console script, in a process of its own."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        given = self.environment if environment is None else environment
        done = subprocess.run(
            [*command(), *words],
            env={**inherited, **given},
            capture_output=True,
            text=True,
            timeout=_SCRIPT_S,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)
