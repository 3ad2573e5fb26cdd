"""What is sent to a stranger's URL: signed, repeated, never redirected, never into our own network."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gateway.alerts.webhook import NotDelivered, UnsafeUrl, WebhookSender, checked_url, is_public, signature
from tests.gateway.alerts.receiver import Receiver, receiving

BODY, SECRET = b'{"id":"alert_1"}', "whsec_test"


def sender(*, attempts: int = 3, timeout_s: float = 5.0) -> WebhookSender:
    return WebhookSender(timeout_s=timeout_s, attempts=attempts, private_allowed=False)


async def sent(receiver: Receiver, url: str | None = None, **how: int) -> None:
    sending = sender(**how)
    try:
        await sending.send(url or receiver.url, SECRET, "alert_1", BODY, 1_700_000_000)
    finally:
        await sending.close()


def status(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {line}", "content-length: 0", *headers, "", ""]).encode()


async def test_an_event_arrives_with_its_id_and_a_signature_that_only_its_secret_makes() -> None:
    async with receiving() as receiver:
        await sent(receiver)
    (event,) = receiver.events
    assert (event.path, event.body, event.headers["x-solar-event-id"]) == ("/hook", BODY, "alert_1")
    assert event.headers["content-type"] == "application/json"
    assert event.is_signed_by(SECRET)
    assert not event.is_signed_by("whsec_other")
    assert event.headers["x-solar-signature"] == signature(SECRET, BODY, 1_700_000_000)
    assert SECRET not in str(event.headers)


async def test_what_is_not_answered_with_a_2xx_is_repeated_and_then_given_back_as_not_delivered() -> None:
    async with receiving() as receiver:
        receiver.answers = [status("500 Oops"), b"nonsense\r\n\r\n"]
        await sent(receiver)
        assert len(receiver.events) == 3
        assert {event.body for event in receiver.events} == {BODY}
        receiver.answers = [status("503 Later")] * 2
        with pytest.raises(NotDelivered, match="503"):
            await sent(receiver, attempts=2)
        assert len(receiver.events) == 5


async def test_a_redirection_is_a_failure_and_never_followed() -> None:
    async with receiving() as trap, receiving() as receiver:
        receiver.answers = [status("302 Found", f"location: {trap.url}"), status("307 Moved", f"location: {trap.url}")]
        with pytest.raises(NotDelivered, match="30"):
            await sent(receiver, attempts=2)
    assert trap.events == []


async def test_nobody_listening_is_not_delivered_and_leaks_nothing(unused_tcp_port: int) -> None:
    async with receiving() as receiver:
        with pytest.raises(NotDelivered) as error:
            await sent(receiver, f"http://127.0.0.1:{unused_tcp_port}/?token=planted", attempts=1)
    assert "planted" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",  # not encrypted
        "ftp://example.com/x",
        "file:///etc/passwd",
        "https://user:password@example.com/",
        "https://",
        "//example.com",
        "http://127.0.0.2/",
        "http://10.0.0.1/",
        "http://localhost.example.com/",
        "https://example.com/" + "x" * 3000,
        "nonsense",
        "",
    ],
)
def test_a_url_that_nothing_may_be_sent_to_is_refused(url: str) -> None:
    with pytest.raises(UnsafeUrl):
        checked_url(url)


@pytest.mark.parametrize(
    "url", ["https://example.com/x?y=1", "http://localhost:9000/", "http://[::1]/", "https://a.b:8443/"]
)
def test_https_and_this_machine_itself_are_taken(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "127.0.0.2", "0.0.0.1", "[fe80::1]"],
)
async def test_a_name_or_address_inside_our_own_network_is_never_connected_to(host: str) -> None:
    sending = sender()
    with pytest.raises(UnsafeUrl):
        await sending.send(f"https://{host}/latest/meta-data", SECRET, "alert_1", BODY, 0)
    await sending.close()


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a9fe:a9fe", False),  # NAT64 of 169.254.169.254
        ("2002:0a00:0001::1", False),  # 6to4 of 10.0.0.1
        ("224.0.0.1", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - compared, never bound
    ],
)
def test_an_address_is_public_only_if_what_it_wraps_is_too(text: str, public: bool) -> None:
    assert is_public(ip_address(text)) is public
