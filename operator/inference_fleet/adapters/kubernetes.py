"""The Kubernetes API behind the Cluster port: raw dictionaries, one place that builds a request, errors by meaning."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.exceptions import ApiException

from inference_fleet import __version__
from inference_fleet.adapters.ports import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NoCluster,
    NotFound,
    Object,
    Page,
    Resource,
    Throttled,
    Unavailable,
    WatchEvent,
)
from inference_fleet.adapters.resources import PODS
from inference_fleet.api.names import FIELD_MANAGER

CONNECT_TIMEOUT_SECONDS: Final = 10
# A page of 500 pods takes the API server well under a second; what takes this long is lost.
REQUEST_TIMEOUT_SECONDS: Final = 60
# The server ends a watch after this; new ones spread over its replicas.
WATCH_SECONDS: Final = 270
# Bookmarks come about once a minute: silence for longer is a lost connection.
WATCH_SILENCE_SECONDS: Final = 90
# The API server's own default where it names no wish.
RETRY_AFTER_SECONDS: Final = 1.0
CONNECTIONS: Final = 64

_JSON: Final = "application/json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_APPLY_PATCH: Final = "application/apply-patch+yaml"


# Told of every call: HTTP method, and the answer's code or NO_ANSWER.
Answered = Callable[[str, str], None]
# As client-go writes it.
NO_ANSWER: Final = "<error>"


async def connect(
    *, kubeconfig: str | None = None, context: str | None = None, answered: Answered | None = None
) -> KubernetesCluster:
    """Log in: with the kubeconfig if one is named, else as a pod, else with the user's own kubeconfig.

    answered: told of every call. Raises NoCluster.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            if kubeconfig is None and not _has_own_kubeconfig():
                raise NoCluster("there is no kubeconfig, neither where KUBECONFIG points to nor ~/.kube/config")
            if kubeconfig is not None and not _exists(kubeconfig):
                raise NoCluster(f"there is no file {kubeconfig}")
            await config.load_kube_config(
                config_file=kubeconfig, context=context, client_configuration=configuration, persist_config=False
            )
    except (config.ConfigException, OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        # The loader trusts a kubeconfig's form: what it trips over says as little as "NoneType".
        raise NoCluster(_words(error)) from error
    configuration.connection_pool_maxsize = CONNECTIONS
    client = ApiClient(configuration)
    # The client's own default would win over a header of the call.
    client.user_agent = f"inference-fleet/{__version__}"
    return KubernetesCluster(client, answered=answered)


def _has_own_kubeconfig() -> bool:
    """Whether there is a kubeconfig where kubectl looks for it; without one the loader writes to stderr by itself."""
    return _exists(os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config"))


def _exists(paths: str) -> bool:
    """Whether any of the files is there, several of which are separated as in PATH."""
    return any(os.path.exists(path) for path in paths.split(os.pathsep))


class KubernetesCluster:
    """Cluster port over kubernetes.aio's low-level client; typed models cost ten times as much and refuse gaps."""

    def __init__(self, client: Any, *, answered: Answered | None = None) -> None:
        self._client = client
        self._answered: Answered = answered or (lambda method, code: None)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def offers(self, resource: Resource) -> bool:
        """Whether the API server names a kind among those of its group: what kopf goes by."""
        try:
            answer = await self._call("GET", f"/apis/{resource.api_version}")
        except NotFound:
            return False
        return any(each.get("name") == resource.plural for each in answer.get("resources") or ())

    async def list_page(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        limit: int = 500,
        continue_token: str | None = None,
    ) -> Page:
        """See Cluster."""
        query = {"limit": str(limit)}
        if label_selector:
            query["labelSelector"] = label_selector
        if continue_token:
            query["continue"] = continue_token
        answer = await self._call("GET", _path(resource, namespace=namespace), query=query)
        metadata = answer.get("metadata") or {}
        items = answer.get("items") or []
        for item in items:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return Page(items, metadata.get("continue") or None, str(metadata.get("resourceVersion", "")))

    async def watch(
        self, resource: Resource, *, resource_version: str, namespace: str | None = None, label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """See Cluster."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        if label_selector:
            query["labelSelector"] = label_selector
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=WATCH_SILENCE_SECONDS
        )
        response = await self._send("GET", _path(resource, namespace=namespace), query=query, timeout=timeout)
        try:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield _watch_event(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"the watch of {resource.plural} broke: {_words(error)}") from error
        finally:
            response.close()

    async def get(self, resource: Resource, *, name: str, namespace: str | None = None) -> Object:
        """See Cluster."""
        return await self._call("GET", _path(resource, namespace=namespace, name=name))

    async def create(self, resource: Resource, body: Mapping[str, Any], *, namespace: str | None = None) -> Object:
        """See Cluster."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("POST", _path(resource, namespace=namespace), query=query, body=body)

    async def apply(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        name: str,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """See Cluster."""
        path = _path(resource, namespace=namespace, name=name, subresource=subresource)
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._call("PATCH", path, query=query, body=body, content_type=_APPLY_PATCH)

    async def merge_patch(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        name: str,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """See Cluster."""
        path = _path(resource, namespace=namespace, name=name, subresource=subresource)
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("PATCH", path, query=query, body=body, content_type=_MERGE_PATCH)

    async def replace(
        self, resource: Resource, body: Mapping[str, Any], *, name: str, namespace: str | None = None
    ) -> Object:
        """See Cluster."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("PUT", _path(resource, namespace=namespace, name=name), query=query, body=body)

    async def delete(
        self,
        resource: Resource,
        *,
        name: str,
        namespace: str | None = None,
        uid: str,
        resource_version: str | None,
        grace_period_seconds: int | None = None,
    ) -> None:
        """See Cluster."""
        preconditions = {"uid": uid}
        if resource_version is not None:
            preconditions["resourceVersion"] = resource_version
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": preconditions,
            "propagationPolicy": "Background",
        }
        if grace_period_seconds is not None:
            body["gracePeriodSeconds"] = grace_period_seconds
        await self._call("DELETE", _path(resource, namespace=namespace, name=name), body=body)

    async def read_log(self, *, namespace: str, pod: str, container: str, previous: bool, lines: int) -> str:
        """The end of a container's log, of its present or its former life. The operator itself never asks."""
        query = {"container": container, "previous": str(previous).lower(), "tailLines": str(lines)}
        path = f"{_path(PODS, namespace=namespace, name=pod)}/log"
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS)
        response = await self._send("GET", path, query=query, timeout=timeout)
        try:
            data: bytes = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"GET {path}: the answer broke off: {_words(error)}") from error
        return data.decode(errors="replace")

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = _JSON,
    ) -> Object:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS)
        response = await self._send(method, path, query=query, body=body, content_type=content_type, timeout=timeout)
        try:
            data = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{method} {path}: the answer broke off: {_words(error)}") from error
        if not isinstance(data, dict):
            raise Unavailable(f"{method} {path}: the answer is no object")
        return data

    async def _send(
        self,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = _JSON,
    ) -> Any:
        headers = {"Accept": _JSON, "Content-Type": content_type}
        url_path = f"{path}?{urlencode(query)}" if query else path
        try:
            _, url, headers, _, _ = await self._client.param_serialize(
                method, url_path, header_params=headers, auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(
                method, url, header_params=headers, body=body, _request_timeout=timeout
            )
            response = answer.response
            self._answered(method, str(response.status))
            if response.status >= 400:
                raise error_of(response.status, await response.read(), retry_after=response.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError, OSError, config.ConfigException) as error:
            # Of the configuration: the pod's token is read anew now and then, and could not be.
            self._answered(method, NO_ANSWER)
            raise Unavailable(f"{method} {path}: {_words(error)}") from error
        except ApiException as error:
            self._answered(method, str(error.status or NO_ANSWER))
            raise error_of(int(error.status or 0), str(error.reason).encode(), retry_after=None) from error
        return response


def error_of(status: int, body: bytes, *, retry_after: str | None) -> ClusterError:
    """What an error answer means. body: a Status object, or whatever a proxy between says."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {"message": body[:200].decode(errors="replace")}
    message = f"{status}: {answer.get('message') or answer.get('reason') or 'no words'}"
    match status:
        case 404:
            return NotFound(message, status=status)
        case 409 if answer.get("reason") == "AlreadyExists":
            return AlreadyExists(message, status=status)
        case 409:
            return Conflict(message, status=status)
        case 401 | 403:
            return Forbidden(message, status=status)
        case 410:
            return Expired(message, status=status)
        case 422 if _only_about_uid(answer):
            # An apply fenced by the UID of an object that has a successor of the same name.
            return Conflict(message, status=status)
        case 400 | 422:
            return Invalid(message, status=status)
        case 429:
            return Throttled(message, retry_after_seconds=_seconds(retry_after))
        case _ if status == 0 or status >= 500:
            return Unavailable(message, status=status)
    return ClusterError(message, status=status)


def _only_about_uid(answer: Mapping[str, Any]) -> bool:
    causes = (answer.get("details") or {}).get("causes") or ()
    return bool(causes) and all(cause.get("field") == "metadata.uid" for cause in causes)


def _watch_event(line: bytes) -> WatchEvent:
    try:
        event = json.loads(line)
        kind, body = str(event["type"]), event["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("the watch sent a line that is no event") from error
    if kind == "ERROR":
        raise error_of(int(body.get("code") or 500), json.dumps(body).encode(), retry_after=None)
    return WatchEvent(kind, body)


def _path(
    resource: Resource, *, namespace: str | None = None, name: str | None = None, subresource: str | None = None
) -> str:
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    parts = [root]
    if resource.namespaced and namespace is not None:
        parts.append(f"namespaces/{quote(namespace, safe='')}")
    parts.append(resource.plural)
    if name is not None:
        parts.append(quote(name, safe=""))
    if subresource is not None:
        parts.append(subresource)
    return "/".join(parts)


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text)) if text else RETRY_AFTER_SECONDS
    except ValueError:
        return RETRY_AFTER_SECONDS


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
