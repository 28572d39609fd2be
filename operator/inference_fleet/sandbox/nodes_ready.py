"""Waiting until the cluster itself says that it can run pods."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp

from inference_fleet.sandbox.control_plane import API_SERVER, Credentials
from inference_fleet.sandbox.node import GPU_RESOURCE
from inference_fleet.sandbox.process_table import START_SECONDS, StartFailed, api_session

_POLL_SECONDS = 0.1
# Without it the API server refuses every pod of the namespace.
_DEFAULT_SERVICE_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"


async def wait_for_nodes(nodes: Sequence[str], *, gpus: int, credentials: Credentials) -> None:
    """Until each node is Ready with that many GPUs and pods are let in. Raises StartFailed, naming what is not."""
    waiting = set(nodes)
    missing = True
    session = api_session(authority=credentials.authority.file, client=credentials.admin_pair)
    try:
        async with session, asyncio.timeout(START_SECONDS):
            while missing or waiting:
                missing = missing and await _get(session, _DEFAULT_SERVICE_ACCOUNT) is None
                listed = await _get(session, "/api/v1/nodes") if waiting else None
                waiting -= ready_nodes(listed or {}, gpus=gpus)
                await asyncio.sleep(_POLL_SECONDS if missing or waiting else 0)
    except TimeoutError as error:
        late = ", ".join(sorted(waiting)) or "the namespace's default service account"
        raise StartFailed(f"not ready after {START_SECONDS:.0f} s: {late}") from error


def ready_nodes(listed: dict[str, Any], *, gpus: int) -> set[str]:
    """The names of the nodes of a NodeList whose condition Ready is True and that offer so many GPUs."""
    return {
        node["metadata"]["name"]
        for node in listed.get("items", ())
        if int(node.get("status", {}).get("allocatable", {}).get(GPU_RESOURCE, "0")) == gpus
        and any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in node.get("status", {}).get("conditions", ())
        )
    }


async def _get(session: aiohttp.ClientSession, path: str) -> dict[str, Any] | None:
    try:
        async with session.get(API_SERVER + path) as response:
            if response.status != 200:
                return None
            content: dict[str, Any] = await response.json()
            return content
    except aiohttp.ClientError:
        return None
