"""The pipe of a Redis Cluster: one `Pipe` to each master, and a map from slots to masters that mends itself.

A command goes to the master of its key's slot. `MOVED` and `ASK` are followed (nothing has run where they are answered), at most
`_HOPS_MAX` times; each `MOVED`, and each node that does not answer, has the map read again, by one reader at a time, at most every
`_REFRESH_PAUSE_S`, from whichever node answers first within `_ASK_MAP_S`. A node that could not be reached is not tried again for
`_SUSPECT_S`: what is asked of it meanwhile is refused at once, so that a dead master costs the accounts of its own slots their answers,
and nobody else a pause (redis-py waits 1.2 to 1.6 s a call; parts.md, 2026-11).
Units: seconds. Errors: `StoreUnavailable`, as of `Pipe`; `redis.exceptions.ResponseError` for what a node itself refuses.
Source: "Redis cluster specification", redirection and CLUSTER SLOTS, redis.io, read 2026-11.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from redis.crc import key_slot
from redis.exceptions import ResponseError

from gateway.admission.pipe import Command, Pipe, StoreUnavailable

_SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
_HOPS_MAX = 5
_REFRESH_PAUSE_S = 0.1
_ASK_MAP_S = 0.5
_SUSPECT_S = 0.2
_DEFAULT_PORT = 6379

Node = tuple[str, int]


def is_cluster(url: str) -> bool:
    """Does a URL name a cluster: `redis+cluster://` or, over TLS, `rediss+cluster://`?"""
    return url.partition("://")[0] in _SCHEMES


def seeds_of(url: str) -> list[str]:
    """A cluster's URL, `redis+cluster://[user:password@]host:port[,host:port…]`, as one plain URL for each node it names."""
    parts = urlsplit(url)
    who, at, nodes = parts.netloc.rpartition("@")
    return [f"{_SCHEMES[parts.scheme]}://{who}{at}{node}" for node in nodes.split(",") if node]


class ClusterPipe:
    """As `Pipe`, over all masters of a cluster. Of one event loop."""

    def __init__(self, url: str, *, timeout_s: float, waiting_max: int, hello: tuple[Command, ...] = ()) -> None:
        seeds = seeds_of(url)
        self._timeout_s = timeout_s
        self._waiting_max = waiting_max
        self._hello = hello
        self._scheme = urlsplit(seeds[0]).scheme
        self._who = "".join(urlsplit(seeds[0]).netloc.rpartition("@")[:2])
        self._seeds = [_node_of(urlsplit(seed).netloc.rpartition("@")[2]) for seed in seeds]
        self._pipes: dict[Node, Pipe] = {}
        self._master_of: dict[int, Node] = {}
        self._suspect_until: dict[Node, float] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at = -_REFRESH_PAUSE_S

    # ---- asking -------------------------------------------------------------------------------------------------------------

    def ask(self, *command: bytes | str | int) -> asyncio.Future[Any]:
        """Send a command to the master of its key; the future has its reply."""
        return self.ask_many([command])[0]

    def ask_many(self, commands: Sequence[Command]) -> list[asyncio.Future[Any]]:
        """Send commands, those of one node in one write. A script's key stands behind its count of keys, any other's comes first."""
        futures: list[asyncio.Future[Any] | None] = [None] * len(commands)
        by_node: dict[Node, list[int]] = {}
        for at, command in enumerate(commands):
            node = self._master_of.get(_slot_of(command))
            if node is None:
                futures[at] = asyncio.ensure_future(self._ask_when_mapped(command))
            elif self._is_suspect(node):
                self._refresh_soon()
                futures[at] = _refused()
            else:
                by_node.setdefault(node, []).append(at)
        for node, places in by_node.items():
            sent = self._pipe_of(node).ask_many([commands[at] for at in places])
            for at, first in zip(places, sent, strict=True):
                futures[at] = self._watched(commands[at], node, first)
        return [future for future in futures if future is not None]

    def ask_behind(self, first: Command, command: Command) -> asyncio.Future[Any]:
        """Send a command to the master of its key, directly behind another one, whose reply is nobody's concern."""
        node = self._master_of.get(_slot_of(command))
        if node is None or self._is_suspect(node):
            return self.ask(*command)
        return self._watched(command, node, self._pipe_of(node).ask_behind(first, command))

    def _watched(self, command: Command, node: Node, first: asyncio.Future[Any]) -> asyncio.Future[Any]:
        """The reply, unless it is a redirection: then the reply of where that leads."""
        final: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(sent: asyncio.Future[Any]) -> None:
            if sent.cancelled():
                final.cancel()
                return
            error = sent.exception()
            if error is None:
                if not final.done():
                    final.set_result(sent.result())
                return
            if isinstance(error, ResponseError) and _is_redirection(error):
                following = asyncio.ensure_future(self._follow(command, error))
                following.add_done_callback(lambda done: _pass_on(done, final))
                return
            if isinstance(error, StoreUnavailable):
                self._suspect(node)
            if not final.done():
                final.set_exception(error)
                final.exception()  # an asker that is gone is no error of ours

        first.add_done_callback(answered)
        return final

    async def _ask_when_mapped(self, command: Command) -> Any:
        slot = _slot_of(command)
        await self._refresh()
        node = self._master_of.get(slot)
        if node is None or self._is_suspect(node):
            raise StoreUnavailable("no master of this slot answers")
        try:
            return await self._pipe_of(node).ask(*command)
        except StoreUnavailable:
            self._suspect(node)
            raise
        except ResponseError as error:
            if not _is_redirection(error):
                raise
            return await self._follow(command, error)

    async def _follow(self, command: Command, error: ResponseError) -> Any:
        """Go where a redirection says."""
        for _ in range(_HOPS_MAX):
            kind, slot, where = str(error).split(" ")[:3]
            node = _node_of(where)
            pipe = self._pipe_of(node)
            if kind == "MOVED":
                self._master_of[int(slot)] = node
                self._refresh_soon()
                sent = pipe.ask(*command)
            else:
                sent = pipe.ask_behind(("ASKING",), command)
            try:
                return await sent
            except StoreUnavailable:
                self._suspect(node)
                raise
            except ResponseError as again:
                if not _is_redirection(again):
                    raise
                error = again
        raise StoreUnavailable("the cluster sends us round in circles")

    # ---- the map ------------------------------------------------------------------------------------------------------------

    def _is_suspect(self, node: Node) -> bool:
        return asyncio.get_running_loop().time() < self._suspect_until.get(node, 0.0)

    def _suspect(self, node: Node) -> None:
        """It did not answer: leave it alone for a moment, and ask the others who has its slots now."""
        self._suspect_until[node] = asyncio.get_running_loop().time() + _SUSPECT_S
        self._refresh_soon()

    def _refresh_soon(self) -> None:
        if self._refreshing is None:
            self._refreshing = asyncio.ensure_future(self._read_map())
            self._refreshing.add_done_callback(self._refresh_ended)

    def _refresh_ended(self, done: asyncio.Task[None]) -> None:
        self._refreshing = None
        _look_at(done)

    async def _refresh(self) -> None:
        self._refresh_soon()
        if self._refreshing is not None:
            await asyncio.shield(self._refreshing)

    async def _read_map(self) -> None:
        loop = asyncio.get_running_loop()
        if (left_s := self._refreshed_at + _REFRESH_PAUSE_S - loop.time()) > 0:
            await asyncio.sleep(left_s)
        self._refreshed_at = loop.time()
        nodes = list(dict.fromkeys([*self._pipes, *self._seeds]))
        asking = {asyncio.ensure_future(self._map_of(node)) for node in nodes}
        try:
            async with asyncio.timeout(_ASK_MAP_S):
                for first in asyncio.as_completed(asking):
                    found = await first
                    if found:
                        self._keep(found)
                        return
        except TimeoutError:
            return
        finally:
            for task in asking:
                task.cancel()

    async def _map_of(self, node: Node) -> dict[int, Node]:
        """Who has which slot, as one node sees it; empty where it does not answer or is alone."""
        try:
            ranges = await self._pipe_of(node).ask("CLUSTER", "SLOTS")
        except (StoreUnavailable, ResponseError):
            return {}
        found: dict[int, Node] = {}
        for first, last, master, *_ in ranges:
            host = master[0].decode() if master[0] else node[0]  # no host: the one that was asked
            found.update(dict.fromkeys(range(first, last + 1), (host, int(master[1]))))
        return found

    def _keep(self, found: dict[int, Node]) -> None:
        self._master_of = found
        masters = set(found.values())
        for node in [node for node in self._pipes if node not in masters and node not in self._seeds]:
            gone = asyncio.ensure_future(self._pipes.pop(node).close())
            gone.add_done_callback(_look_at)

    def _pipe_of(self, node: Node) -> Pipe:
        pipe = self._pipes.get(node)
        if pipe is None:
            host = f"[{node[0]}]" if ":" in node[0] else node[0]
            url = f"{self._scheme}://{self._who}{host}:{node[1]}"
            pipe = Pipe(url, timeout_s=self._timeout_s, waiting_max=self._waiting_max, hello=self._hello)
            self._pipes[node] = pipe
        return pipe

    async def close(self) -> None:
        """Wait for the answers that are due, then hang up."""
        if self._refreshing is not None:
            await asyncio.wait([self._refreshing], timeout=_ASK_MAP_S)
        await asyncio.gather(*(pipe.close() for pipe in self._pipes.values()))


def _refused() -> asyncio.Future[Any]:
    refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    refused.set_exception(StoreUnavailable("the master of this slot does not answer"))
    refused.exception()
    return refused


def _slot_of(command: Command) -> int:
    key = command[3] if command[0] in ("FCALL", "EVALSHA", "EVAL") else command[1]
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


def _node_of(text: str) -> Node:
    host, _, port = text.rpartition(":") if text.count(":") and not text.endswith("]") else (text, "", "")
    return host.strip("[]"), int(port) if port else _DEFAULT_PORT


def _is_redirection(error: ResponseError) -> bool:
    return str(error).startswith(("MOVED ", "ASK "))


def _pass_on(done: asyncio.Future[Any], final: asyncio.Future[Any]) -> None:
    error = None if done.cancelled() else done.exception()
    if final.done():
        return
    if done.cancelled():
        final.cancel()
    elif error is not None:
        final.set_exception(error)
        final.exception()
    else:
        final.set_result(done.result())


def _look_at(done: asyncio.Future[Any]) -> None:
    """What becomes of it is nobody's concern, and no error of ours."""
    if not done.cancelled():
        done.exception()
