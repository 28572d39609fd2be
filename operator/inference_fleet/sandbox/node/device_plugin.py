"""Made-up GPUs offered to the kubelet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc

from inference_fleet.sandbox.node import GPU_RESOURCE
from inference_fleet.sandbox.node.gpus import PLUGIN_FOLDER
from inference_fleet.sandbox.node.grpc_services import service_handler

_KUBELET_SOCKET = "kubelet.sock"
_OWN_SOCKET = "inference-fleet-gpu.sock"
_VERSION = "v1beta1"
_REGISTRATION_SECONDS = 10
_LOOK_SECONDS = 0.5


@dataclass
class DevicePlugin:
    """The DevicePlugin service; `messages` is the generated module."""

    messages: ModuleType
    identifiers: tuple[str, ...]
    ended: threading.Event = field(default_factory=threading.Event)

    def get_device_plugin_options(self, request: Any) -> Any:
        del request
        return self.messages.DevicePluginOptions()

    def list_and_watch(self, request: Any) -> Iterator[Any]:
        del request
        devices = [self.messages.Device(ID=identifier, health="Healthy") for identifier in self.identifiers]
        yield self.messages.ListAndWatchResponse(devices=devices)
        self.ended.wait()  # a stream that ends takes the devices away

    def allocate(self, request: Any) -> Any:
        return self.messages.AllocateResponse(
            container_responses=[
                self.messages.ContainerAllocateResponse(
                    envs={"NVIDIA_VISIBLE_DEVICES": ",".join(sorted(container.devices_ids))}
                )
                for container in request.container_requests
            ]
        )


def offer(plugin: DevicePlugin, *, ended: threading.Event, folder: Path = PLUGIN_FOLDER) -> None:
    """Offer the devices until `ended`: a kubelet that starts again empties its folder, so listen and register again."""
    known: int | None = None
    server: Any = None
    while not ended.is_set():
        current = _changed(folder / _KUBELET_SOCKET)
        if current is not None and current != known:
            if server:
                _stop(server, plugin=plugin)
            server = _serve(plugin, folder=folder)
            if _register(plugin, folder=folder):
                known = current
        ended.wait(_LOOK_SECONDS)
    if server:
        _stop(server, plugin=plugin)


def _serve(plugin: DevicePlugin, *, folder: Path) -> Any:
    plugin.ended.clear()
    (folder / _OWN_SOCKET).unlink(missing_ok=True)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8, thread_name_prefix="device-plugin"))
    descriptor = plugin.messages.DESCRIPTOR.services_by_name["DevicePlugin"]
    server.add_generic_rpc_handlers((service_handler(descriptor, plugin),))
    server.add_insecure_port(f"unix://{folder / _OWN_SOCKET}")
    server.start()
    return server


def _stop(server: Any, *, plugin: DevicePlugin) -> None:
    plugin.ended.set()
    server.stop(grace=None).wait()


def _register(plugin: DevicePlugin, *, folder: Path) -> bool:
    request = plugin.messages.RegisterRequest(version=_VERSION, endpoint=_OWN_SOCKET, resource_name=GPU_RESOURCE)
    with grpc.insecure_channel(f"unix://{folder / _KUBELET_SOCKET}") as channel:
        register = channel.unary_unary(
            "/v1beta1.Registration/Register",
            request_serializer=plugin.messages.RegisterRequest.SerializeToString,
            response_deserializer=plugin.messages.Empty.FromString,
        )
        try:
            register(request, wait_for_ready=True, timeout=_REGISTRATION_SECONDS)
        except grpc.RpcError:
            return False  # the kubelet is on its way down or up: look again
    return True


def _changed(socket: Path) -> int | None:
    """When the socket was made, or None if there is none."""
    try:
        return socket.stat().st_ctime_ns
    except FileNotFoundError:
        return None
