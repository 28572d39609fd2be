"""`python -m inference_fleet.sandbox.node.runtime`: the node's container runtime and device plug-in, in one process.

Takes the node's own command line; runs inside the node's namespaces until SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent import futures
from typing import Any

import grpc

from inference_fleet.sandbox.node.container_process import adopt_orphans, launch
from inference_fleet.sandbox.node.device_plugin import DevicePlugin, offer
from inference_fleet.sandbox.node.grpc_services import service_handler
from inference_fleet.sandbox.node.image_service import ImageService
from inference_fleet.sandbox.node.images import EngineKind, ImageCatalog
from inference_fleet.sandbox.node.kubelet import RUNTIME_SOCKET
from inference_fleet.sandbox.node.model_folder import write_model_folder
from inference_fleet.sandbox.node.runtime_service import RuntimeService
from inference_fleet.sandbox.node.sandbox_network import PodNetwork
from inference_fleet.sandbox.node.settings import NodeSettings, parse_settings
from inference_fleet.sandbox.real_engine import find_real_engine
from inference_fleet.sandbox.stubs_generation import Stubs, load_stubs

# A call that stops a container takes up to the pod's grace; that many pods of a node can end at once.
_CALLS_AT_ONCE = 256


def main(argv: Sequence[str]) -> int:
    """Serve until told to end."""
    settings = parse_settings(argv)
    adopt_orphans()
    stubs = load_stubs()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    runtime = _runtime_service(settings, stubs=stubs)
    server = _serve(settings, runtime=runtime, stubs=stubs)
    plugin = DevicePlugin(stubs.device_plugin, settings.gpus.identifiers(settings.name))
    if settings.gpus.count:
        threading.Thread(target=offer, args=(plugin,), kwargs={"ended": ended}, daemon=True).start()
    ended.wait()
    plugin.ended.set()
    server.stop(grace=None)
    runtime.stop_everything()
    return 0


def _runtime_service(settings: NodeSettings, *, stubs: Stubs) -> RuntimeService:
    real_engine = find_real_engine() if settings.engine is EngineKind.VLLM else None
    model = real_engine.model if real_engine else write_model_folder(settings.state / "tiny-model")
    return RuntimeService(
        messages=stubs.runtime,
        catalog=ImageCatalog(engine=settings.engine, real_engine=real_engine, model=model),
        network=PodNetwork(settings.index),
        launch=launch,
        folder=settings.state,
    )


def _serve(settings: NodeSettings, *, runtime: RuntimeService, stubs: Stubs) -> Any:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=_CALLS_AT_ONCE, thread_name_prefix="runtime"))
    images = ImageService(stubs.runtime, runtime.catalog, folder=str(settings.state))
    services = stubs.runtime.DESCRIPTOR.services_by_name
    server.add_generic_rpc_handlers(
        (service_handler(services["RuntimeService"], runtime), service_handler(services["ImageService"], images))
    )
    # The name appears once calls are taken: the node waits for it.
    unready = settings.state / f"{RUNTIME_SOCKET}.new"
    unready.unlink(missing_ok=True)
    server.add_insecure_port(f"unix://{unready}")
    server.start()
    os.replace(unready, settings.state / RUNTIME_SOCKET)
    return server


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
