"""What goes wrong is one line and the right exit code: 1 for a refusal or nobody there, 2 for a setting or an argument."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.gateway.cli.office import Office


@contextmanager
def _stranger(status: int, body: bytes) -> Iterator[str]:
    """A small true server that is no gateway."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_wrong_token_is_refused_and_not_repeated(office: Office) -> None:
    code, line = office.refused("accounts", "list", environment={"GATEWAY_OPERATOR_TOKEN": "op-guessed"})
    assert (code, line.partition(": ")[0]) == (1, "invalid_operator_token")
    assert "op-guessed" not in line


def test_an_unknown_account_is_refused_by_its_id(office: Office) -> None:
    code, line = office.refused("accounts", "show", "acc_none", "--json")
    assert (code, line.partition(": ")[0]) == (1, "not_found")
    assert "acc_none" in line


def test_without_a_gateway_the_line_says_what_to_do_next(office: Office) -> None:
    with socket.socket() as bound:  # a port that is taken, and that nobody listens on
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        code, line = office.refused("usage", environment={"GATEWAY_URL": url})
    assert code == 1
    assert line.startswith(f"No gateway answers at {url}")
    assert "`solar-gateway serve`" in line


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<html>not here</html>"),
        (200, b"<html>welcome</html>"),
        (200, b'{"rows": []}'),
        (302, b""),
        (200, b'{"data": [1], "next": "x"}'),
        (500, b'{"error": "no"}'),
    ],
)
def test_a_stranger_at_the_address_is_not_taken_for_a_gateway(office: Office, status: int, body: bytes) -> None:
    with _stranger(status, body) as url:
        code, line = office.refused("accounts", "list", "--url", url)
    assert code == 1
    assert line.startswith(f"{url} answer")
    assert line.endswith("is it a SOLAR gateway?")


@pytest.mark.parametrize("url", ["ftp://gateway", "gateway:8080", "http://", "http://a b", "http://me:secret@gateway"])
def test_an_address_that_is_none_is_a_wrong_argument(office: Office, url: str) -> None:
    code, line = office.refused("accounts", "list", "--url", url)
    assert code == 2
    assert line.startswith("--url or GATEWAY_URL: ")


def test_the_address_may_be_written_as_serve_and_the_sdk_write_it(office: Office) -> None:
    said = office.run("accounts", "list", "--json", "--url", f"{office.gateway.url}/v1/")
    assert (said.code, said.stderr) == (0, "")


def test_without_any_token_the_line_names_the_setting_and_where_a_sandbox_leaves_its_own(
    office: Office, tmp_path: Path
) -> None:
    nowhere = {"GATEWAY_OPERATOR_TOKEN": None, "GATEWAY_DATA_DIR": str(tmp_path)}
    code, line = office.refused("accounts", "list", environment=nowhere)
    assert code == 2
    assert line.startswith("GATEWAY_OPERATOR_TOKEN is needed")
    assert str(tmp_path / "operator-token") in line


@pytest.mark.parametrize("token", ["two words", "ö", "\n"])
def test_a_token_that_cannot_be_one_is_a_wrong_setting(office: Office, token: str) -> None:
    code, line = office.refused("accounts", "list", environment={"GATEWAY_OPERATOR_TOKEN": token})
    assert (code, line.partition(":")[0]) == (2, "GATEWAY_OPERATOR_TOKEN")


def test_a_setting_with_a_wrong_value_is_named(office: Office) -> None:
    code, line = office.refused("accounts", "list", environment={"GATEWAY_OPS_PORT": "high"})
    assert (code, line.partition(":")[0]) == (2, "GATEWAY_OPS_PORT")


@pytest.mark.parametrize("id", ["../invoices", "a/b", "", "x" * 101])
def test_what_is_no_id_never_becomes_a_part_of_a_path(office: Office, id: str) -> None:
    code, line = office.refused("keys", "revoke", id)
    assert code == 2
    assert "is not an id" in line


@pytest.mark.parametrize("month", ["2026-13", "10-2026", "October"])
def test_a_month_that_is_none_is_a_wrong_argument(office: Office, month: str) -> None:
    code, line = office.refused("month", "close", month)
    assert (code, line) == (2, f"'{month}' is not a month; write it as 2026-10")
