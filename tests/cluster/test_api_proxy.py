from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest

from inference_fleet.sandbox.api_proxy import (
    Answer,
    ApiRequest,
    Fate,
    LoseAnswer,
    LoseRequest,
    Pass,
    api_proxy,
)
from inference_fleet.sandbox.cluster import Sandbox
from inference_fleet.sandbox.control_plane import PROXY_INSIDE

MAPS = "/api/v1/namespaces/default/configmaps"


class _Fates:
    """What happens to the next requests, in order; afterwards all pass."""

    def __init__(self) -> None:
        self.next: list[Fate] = []
        self.asked: list[ApiRequest] = []

    def __call__(self, request: ApiRequest) -> Fate:
        self.asked.append(request)
        return self.next.pop(0) if self.next else Pass()


@pytest.fixture(scope="module")
def token(sandbox: Sandbox) -> str:
    sandbox.kubectl("create", "serviceaccount", "proxied")
    sandbox.kubectl(
        "create", "clusterrolebinding", "proxied", "--clusterrole=cluster-admin", "--serviceaccount=default:proxied"
    )
    return sandbox.kubectl("create", "token", "proxied").strip()


@pytest.fixture
def fates() -> _Fates:
    return _Fates()


@pytest.fixture
async def through(sandbox: Sandbox, token: str, fates: _Fates) -> AsyncIterator[aiohttp.ClientSession]:
    """A session of the account `proxied` through a proxy."""
    trust = ssl.create_default_context(cafile=str(sandbox.folder.pki / "ca.crt"))
    headers = {"Authorization": f"Bearer {token}", "User-Agent": "tested"}
    async with (
        api_proxy(sandbox, intercept=fates) as proxy,
        aiohttp.ClientSession(proxy.url, connector=aiohttp.TCPConnector(ssl=trust), headers=headers) as session,
    ):
        yield session


def _map(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


async def test_requests_pass_as_their_callers(through: aiohttp.ClientSession, fates: _Fates) -> None:
    async with through.post(MAPS, json=_map("passed"), params={"dryRun": "All"}) as response:
        assert (await response.json())["metadata"]["name"] == "passed"
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    async with through.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review) as response:
        assert (await response.json())["status"]["userInfo"]["username"] == "system:serviceaccount:default:proxied"
    assert fates.asked[0] == ApiRequest("POST", f"{MAPS}?dryRun=All", "tested")


async def test_a_watch_is_passed_on_event_by_event(through: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    async with through.get(MAPS, params={"watch": "1", "fieldSelector": "metadata.name=watched"}) as watch:
        await asyncio.to_thread(sandbox.kubectl, "create", "configmap", "watched")
        event = json.loads(await asyncio.wait_for(watch.content.readline(), 20))
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "watched")
    await asyncio.to_thread(sandbox.kubectl, "delete", "configmap", "watched")


async def test_the_proxy_answers_in_the_servers_place(through: aiohttp.ClientSession, fates: _Fates) -> None:
    fates.next = [Answer(429, reason="TooManyRequests", headers=(("Retry-After", "3"),))]
    async with through.get(MAPS) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "3")
        assert (await response.json())["reason"] == "TooManyRequests"


@pytest.mark.parametrize(("fate", "exists"), [(LoseRequest(), False), (LoseAnswer(), True)])
async def test_a_lost_answer_was_a_write_and_a_lost_request_was_none(
    through: aiohttp.ClientSession, fates: _Fates, fate: Fate, exists: bool
) -> None:
    name = f"lost-{type(fate).__name__.lower()}"
    fates.next = [fate]
    with pytest.raises(aiohttp.ClientError):
        await through.post(MAPS, json=_map(name))
    async with through.delete(f"{MAPS}/{name}") as response:
        assert response.status == (200 if exists else 404)


@pytest.mark.usefixtures("through")
async def test_pods_reach_the_proxy_from_inside(sandbox: Sandbox, token: str, fates: _Fates) -> None:
    authority = str(sandbox.folder.pki / "ca.crt")
    words = ("curl", "-s", "--max-time", "20", "--cacert", authority, "-H", f"Authorization: Bearer {token}")
    asked = await asyncio.to_thread(sandbox.exec, *words, f"{PROXY_INSIDE}/version")
    assert json.loads(asked.stdout)["major"] == "1"
    assert [request.path for request in fates.asked] == ["/version"]
