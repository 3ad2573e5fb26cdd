"""Sends one signed event to a URL that a stranger named, and nowhere else.

The signature is `x-solar-signature: t=<Unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>" under the account's secret>`, as Stripe's
(docs.stripe.com/webhooks, "Verify manually", read 2026-11). Only `https`, or `http` to this machine itself (`localhost`, `127.0.0.1`,
`[::1]`, written so); a name is resolved here, every address of it is looked at, and the connection goes to the address that was looked
at, under the name's certificate: a name that changes its mind in between gains nothing. Redirects are not followed; an answer's body is
not read.
Units: seconds. Errors: `UnsafeUrl` (never to be tried again as it is); `NotDelivered`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

SIGNATURE_HEADER, ID_HEADER = "x-solar-signature", "x-solar-event-id"
URL_LENGTH_MAX = 2000
_LOOPBACK = {"localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::1": "::1"}
_NAT64 = IPv6Network("64:ff9b::/96")


class UnsafeUrl(ValueError):
    """Nothing is sent there."""


class NotDelivered(Exception):
    """It did not arrive, or was not answered with a 2xx; it may be tried again."""


def signature(secret: str, body: bytes, at_s: int) -> str:
    """What proves to the receiver that we sent this body, and when."""
    proof = hmac.new(secret.encode(), b"%d." % at_s + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={proof}"


def checked_url(text: str) -> str:
    """A URL that an event may be sent to, as far as its text says; raises `UnsafeUrl`."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        raise UnsafeUrl("is no URL") from None
    if len(text) > URL_LENGTH_MAX or url.userinfo or url.fragment:
        raise UnsafeUrl(f"must be at most {URL_LENGTH_MAX} characters, without user, password or fragment")
    if not url.host or (url.scheme != "https" and not (url.scheme == "http" and url.host in _LOOPBACK)):
        raise UnsafeUrl("must begin with https:// (http:// only to this machine itself)")
    return text


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Does an address lie outside every private, local and reserved net, also one wrapped into IPv6?"""
    if isinstance(address, IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(IPv4Address(int(address) & 0xFFFF_FFFF))
        if any(wrapped is not None and not is_public(wrapped) for wrapped in inner):
            return False
    return address.is_global and not address.is_multicast


class WebhookSender:
    """One client for all deliveries of a process."""

    def __init__(self, *, timeout_s: float, attempts: int, private_allowed: bool) -> None:
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._private_allowed = private_allowed
        self._client = httpx.AsyncClient(
            timeout=timeout_s,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def send(self, url: str, secret: str, event_id: str, body: bytes, at_s: int) -> None:
        """Send it, a few times if need be; raises `UnsafeUrl` or `NotDelivered`."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._attempts),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            retry=retry_if_exception_type(NotDelivered),
            reraise=True,
        )
        headers = {
            "content-type": "application/json",
            "user-agent": "solar-gateway",
            ID_HEADER: event_id,
            SIGNATURE_HEADER: signature(secret, body, at_s),
        }
        async for attempt in retrying:
            with attempt:
                await self._send_once(httpx.URL(checked_url(url)), headers, body)

    async def _send_once(self, url: httpx.URL, headers: dict[str, str], body: bytes) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                address = await self._address_of(url)
                request = self._client.build_request(
                    "POST",
                    url.copy_with(host=address),
                    content=body,
                    headers={**headers, "host": url.netloc.decode("ascii")},
                    extensions={"sni_hostname": url.host},
                )
                answer = await self._client.send(request, stream=True)
                await answer.aclose()
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise NotDelivered(type(error).__name__) from None
        if not answer.is_success:
            raise NotDelivered(f"status {answer.status_code}")

    async def _address_of(self, url: httpx.URL) -> str:
        """The one address to connect to; raises `UnsafeUrl` where any address of the name lies within."""
        if url.host in _LOOPBACK:
            return _LOOPBACK[url.host]
        found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port or 443, type=socket.SOCK_STREAM)
        addresses = [ip_address(str(where[0]).partition("%")[0]) for *_, where in found]
        if not addresses:
            raise NotDelivered("the name has no address")
        if not self._private_allowed and not all(is_public(address) for address in addresses):
            raise UnsafeUrl("leads to a private, local or reserved address")
        return str(addresses[0])
