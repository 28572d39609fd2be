"""GPUs are offered to the kubelet, and again to one that has started anew."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

from inference_fleet.sandbox.node.device_plugin import DevicePlugin, offer
from inference_fleet.sandbox.node.grpc_services import Refused, service_handler
from inference_fleet.sandbox.stubs_generation import load_stubs
from inference_fleet.sandbox.tools import ToolUnavailable

DEVICES = ("GPU-n-0", "GPU-n-1")


class FakeKubelet:
    """Takes registrations at kubelet.sock."""

    def __init__(self, messages: ModuleType, folder: Path) -> None:
        self.messages = messages
        self.registered = threading.Event()
        self.request: Any = None
        (folder / "kubelet.sock").unlink(missing_ok=True)
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        descriptor = messages.DESCRIPTOR.services_by_name["Registration"]
        self.server.add_generic_rpc_handlers((service_handler(descriptor, self),))
        self.server.add_insecure_port(f"unix://{folder}/kubelet.sock")
        self.server.start()

    def register(self, request: Any) -> Any:
        self.request = request
        self.registered.set()
        return self.messages.Empty()


@pytest.fixture(scope="module")
def api() -> ModuleType:
    try:
        return load_stubs().device_plugin
    except ToolUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gpu") as name:  # short enough for a socket
        yield Path(name)


@pytest.fixture
def offered(api: ModuleType, folder: Path) -> Iterator[DevicePlugin]:
    ended = threading.Event()
    plugin = DevicePlugin(api, DEVICES)
    thread = threading.Thread(target=offer, args=(plugin,), kwargs={"ended": ended, "folder": folder})
    thread.start()
    yield plugin
    ended.set()
    thread.join(timeout=20)
    assert not thread.is_alive()


def devices(api: ModuleType, socket: Path) -> list[tuple[str, str]]:
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        watch = channel.unary_stream(
            "/v1beta1.DevicePlugin/ListAndWatch",
            request_serializer=api.Empty.SerializeToString,
            response_deserializer=api.ListAndWatchResponse.FromString,
        )
        stream = watch(api.Empty(), timeout=10)
        first = next(stream)
        stream.cancel()
    return [(device.ID, device.health) for device in first.devices]


def test_devices_are_registered_and_listed(api: ModuleType, folder: Path, offered: DevicePlugin) -> None:
    kubelet = FakeKubelet(api, folder)
    assert kubelet.registered.wait(20)
    assert (kubelet.request.resource_name, kubelet.request.version) == ("nvidia.com/gpu", "v1beta1")
    assert devices(api, folder / kubelet.request.endpoint) == [(name, "Healthy") for name in DEVICES]
    kubelet.server.stop(grace=None).wait()


def test_a_kubelet_that_started_anew_gets_them_again(api: ModuleType, folder: Path, offered: DevicePlugin) -> None:
    first = FakeKubelet(api, folder)
    assert first.registered.wait(20)
    first.server.stop(grace=None).wait()
    for socket in folder.iterdir():  # as a starting kubelet does
        socket.unlink(missing_ok=True)
    second = FakeKubelet(api, folder)
    assert second.registered.wait(20)
    assert devices(api, folder / second.request.endpoint) == [(name, "Healthy") for name in DEVICES]
    second.server.stop(grace=None).wait()


def test_allocated_devices_are_shown_to_the_process(api: ModuleType) -> None:
    request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=["b", "a"])])
    (container,) = DevicePlugin(api, DEVICES).allocate(request).container_responses
    assert dict(container.envs) == {"NVIDIA_VISIBLE_DEVICES": "a,b"}


def test_a_refusal_reaches_the_caller_and_what_is_missing_is_unimplemented(api: ModuleType, folder: Path) -> None:
    class Refusing:
        def allocate(self, request: Any) -> Any:
            raise Refused(grpc.StatusCode.NOT_FOUND, "no such device")

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    descriptor = api.DESCRIPTOR.services_by_name["DevicePlugin"]
    server.add_generic_rpc_handlers((service_handler(descriptor, Refusing()),))
    server.add_insecure_port(f"unix://{folder}/s")
    server.start()
    found = {}
    with grpc.insecure_channel(f"unix://{folder}/s") as channel:
        for name in ("Allocate", "GetDevicePluginOptions"):
            call = channel.unary_unary(f"/v1beta1.DevicePlugin/{name}")
            with pytest.raises(grpc.RpcError) as error:
                call(b"", timeout=10)
            found[name] = error.value.code()
    server.stop(grace=None).wait()
    assert found == {
        "Allocate": grpc.StatusCode.NOT_FOUND,
        "GetDevicePluginOptions": grpc.StatusCode.UNIMPLEMENTED,
    }
