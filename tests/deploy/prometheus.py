"""Prometheus itself on the running stack, where its binary is on the PATH (`.ci/run` gets it from Debian's package)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from gateway.sandbox.server import free_port
from tests.deploy.files import DEPLOY, yaml_documents
from tests.deploy.stack import Stack


@asynccontextmanager
async def scraping(binary: str, stack: Stack, home: Path) -> AsyncIterator[str]:
    """Prometheus itself, with deploy/prometheus.yml, but for where the services are; gives the address of its API."""
    [config] = yaml_documents(DEPLOY / "prometheus.yml")
    [job] = config["scrape_configs"]
    assert [target.rpartition(":")[0] for target in job["static_configs"][0]["targets"]] == [
        service.name for service in stack.services
    ]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{service.ops_port}" for service in stack.services]}]
    config["rule_files"] = [str(DEPLOY / name) for name in config["rule_files"]]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        binary,
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    try:
        yield f"http://{address}/api/v1"
    finally:
        process.terminate()
        await process.wait()


def ups(prometheus: str) -> list[str]:
    """What `up` is of each target; nothing where Prometheus does not answer yet."""
    try:
        reply = httpx.get(f"{prometheus}/query", params={"query": 'up{job="solar"}'}, trust_env=False)
    except httpx.TransportError:
        return []
    if reply.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # it listens, and is still starting
        return []
    answer = reply.json()
    return [series["value"][1] for series in answer["data"]["result"]]


async def prometheus_says(prometheus: str, path: str, **params: str) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False) as asking:
        answer = (await asking.get(f"{prometheus}/{path}", params=params)).json()
    assert answer["status"] == "success", (params, answer)
    return dict(answer["data"])
