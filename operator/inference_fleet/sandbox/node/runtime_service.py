"""CRI's RuntimeService over plain processes (k8s.io/cri-api, pkg/apis/runtime/v1/api.proto)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import grpc

from inference_fleet.sandbox.node.container import Container, NotStartable, PodSandbox
from inference_fleet.sandbox.node.container_log import open_log
from inference_fleet.sandbox.node.container_process import Launch
from inference_fleet.sandbox.node.exec_command import CommandTimeout, run_in_container
from inference_fleet.sandbox.node.grpc_services import Refused, not_found
from inference_fleet.sandbox.node.images import ImageCatalog, NotRunnable
from inference_fleet.sandbox.node.launch_order import launch_order
from inference_fleet.sandbox.node.resolver_file import write_resolver_file
from inference_fleet.sandbox.node.sandbox_network import NetworkError, PodLink
from inference_fleet.sandbox.node.usage import ProcessUsage, process_usage

RUNTIME_NAME = "inference-fleet-processes"
_NO_STREAMS = "the sandbox's runtime opens no streams: see `kubectl logs` and `inference-fleet sandbox exec`"


class Network(Protocol):
    """Where pods get their addresses from."""

    def connect(self) -> PodLink:
        """A new address in a namespace of its own."""
        ...

    def disconnect(self, link: PodLink) -> None:
        """Give it back."""
        ...


@dataclass
class RuntimeService:
    """The sandboxes and containers of one node; `messages` is the generated module, `folder` the node's own."""

    messages: ModuleType
    catalog: ImageCatalog
    network: Network
    launch: Launch
    folder: Path
    _sandboxes: dict[str, PodSandbox] = field(default_factory=dict)
    _containers: dict[str, Container] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # --- the runtime itself

    def version(self, request: Any) -> Any:
        del request
        return self.messages.VersionResponse(
            version="0.1.0", runtime_name=RUNTIME_NAME, runtime_version="0.1.0", runtime_api_version="v1"
        )

    def status(self, request: Any) -> Any:
        del request
        ready = [self.messages.RuntimeCondition(type=kind, status=True) for kind in ("RuntimeReady", "NetworkReady")]
        return self.messages.StatusResponse(
            status=self.messages.RuntimeStatus(conditions=ready),
            runtime_handlers=[self.messages.RuntimeHandler(name="")],
        )

    def runtime_config(self, request: Any) -> Any:
        del request
        linux = self.messages.LinuxRuntimeConfiguration(cgroup_driver=self.messages.CGROUPFS)
        return self.messages.RuntimeConfigResponse(linux=linux)

    def update_runtime_config(self, request: Any) -> Any:
        del request
        return self.messages.UpdateRuntimeConfigResponse()

    # --- sandboxes of pods

    def run_pod_sandbox(self, request: Any) -> Any:
        options = request.config.linux.security_context.namespace_options
        try:
            link = None if options.network == self.messages.NODE else self.network.connect()
        except (NetworkError, OSError) as error:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)) from error
        sandbox = PodSandbox(request.config, link)
        sandbox.resolver_file = write_resolver_file(
            self.folder / "resolvers", sandbox=sandbox.identifier, config=request.config.dns_config
        )
        with self._lock:
            self._sandboxes[sandbox.identifier] = sandbox
        return self.messages.RunPodSandboxResponse(pod_sandbox_id=sandbox.identifier)

    def stop_pod_sandbox(self, request: Any) -> Any:
        sandbox = self._sandboxes.get(request.pod_sandbox_id)
        if sandbox:
            for container in self._containers_of(sandbox):
                container.stop(grace_seconds=0)
            with self._lock:
                link, sandbox.link, sandbox.ready = sandbox.link, None, False
            if link:
                self.network.disconnect(link)
        return self.messages.StopPodSandboxResponse()

    def remove_pod_sandbox(self, request: Any) -> Any:
        self.stop_pod_sandbox(request)
        with self._lock:
            sandbox = self._sandboxes.pop(request.pod_sandbox_id, None)
            for container in self._containers_of(sandbox) if sandbox else ():
                del self._containers[container.identifier]
        if sandbox and sandbox.resolver_file:
            sandbox.resolver_file.unlink(missing_ok=True)
        return self.messages.RemovePodSandboxResponse()

    def pod_sandbox_status(self, request: Any) -> Any:
        sandbox = self._sandbox(request.pod_sandbox_id)
        status = self.messages.PodSandboxStatus(
            **self._sandbox_fields(sandbox), network=self.messages.PodSandboxNetworkStatus(ip=sandbox.address)
        )
        options = sandbox.config.linux.security_context.namespace_options
        status.linux.namespaces.options.CopyFrom(options)
        return self.messages.PodSandboxStatusResponse(status=status)

    def list_pod_sandbox(self, request: Any) -> Any:
        wanted = request.filter
        items = [self.messages.PodSandbox(**self._sandbox_fields(sandbox)) for sandbox in self._all_sandboxes()]
        return self.messages.ListPodSandboxResponse(
            items=[
                item
                for item in items
                if item.id.startswith(wanted.id)
                and (not wanted.HasField("state") or item.state == wanted.state.state)
                and _has_labels(item.labels, wanted.label_selector)
            ]
        )

    # --- containers

    def create_container(self, request: Any) -> Any:
        sandbox = self._sandbox(request.pod_sandbox_id)
        folder, name = sandbox.config.log_directory, request.config.log_path
        try:
            log = open_log(folder, name=name)
        except OSError as error:
            raise Refused(grpc.StatusCode.UNKNOWN, f"log {folder}/{name}: {error.strerror}") from error
        path = f"{folder}/{name}" if folder and name else ""
        container = Container(sandbox, config=request.config, log=log, log_path=path)
        with self._lock:
            self._containers[container.identifier] = container
        return self.messages.CreateContainerResponse(container_id=container.identifier)

    def start_container(self, request: Any) -> Any:
        container = self._container(request.container_id)
        if not container.sandbox.ready:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "the pod's sandbox is stopped")
        order = launch_order(container.sandbox, container.config, catalog=self.catalog, root=str(self._root))
        if isinstance(order, NotRunnable):
            container.refuse(order.message)
            raise Refused(grpc.StatusCode.UNKNOWN, order.message)
        try:
            container.start(order, launch=self.launch)
        except NotStartable as error:
            raise Refused(grpc.StatusCode.UNKNOWN, str(error)) from error
        return self.messages.StartContainerResponse()

    def stop_container(self, request: Any) -> Any:
        container = self._containers.get(request.container_id)
        if container:
            container.stop(grace_seconds=request.timeout)
        return self.messages.StopContainerResponse()

    def remove_container(self, request: Any) -> Any:
        container = self._containers.get(request.container_id)
        if container:
            container.stop(grace_seconds=0)
            with self._lock:
                self._containers.pop(container.identifier, None)
        return self.messages.RemoveContainerResponse()

    def container_status(self, request: Any) -> Any:
        container = self._container(request.container_id)
        status = self.messages.ContainerStatus(
            **self._container_fields(container),
            started_at=container.started_nanoseconds,
            finished_at=container.finished_nanoseconds,
            exit_code=container.exit_code,
            reason=container.reason,
            message=container.message,
            mounts=container.config.mounts,
            log_path=container.log_path,
        )
        return self.messages.ContainerStatusResponse(status=status)

    def list_containers(self, request: Any) -> Any:
        wanted = request.filter
        return self.messages.ListContainersResponse(
            containers=[
                self.messages.Container(
                    **self._container_fields(container), pod_sandbox_id=container.sandbox.identifier
                )
                for container in self._chosen(wanted)
                if not wanted.HasField("state") or container.state == wanted.state.state
            ]
        )

    def update_container_resources(self, request: Any) -> Any:
        del request  # nothing is limited here
        return self.messages.UpdateContainerResourcesResponse()

    def reopen_container_log(self, request: Any) -> Any:
        self._container(request.container_id).log.reopen()
        return self.messages.ReopenContainerLogResponse()

    def exec_sync(self, request: Any) -> Any:
        container = self._container(request.container_id)
        pid = container.pid
        if pid is None:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "the container is not running")
        try:
            done = run_in_container(
                pid, request.cmd, environment=container.environment, timeout_seconds=request.timeout or None
            )
        except CommandTimeout as error:
            raise Refused(grpc.StatusCode.DEADLINE_EXCEEDED, str(error)) from error
        except OSError as error:
            raise Refused(grpc.StatusCode.UNKNOWN, str(error)) from error
        return self.messages.ExecSyncResponse(stdout=done.output, stderr=done.errors, exit_code=done.exit_status)

    def exec(self, request: Any) -> Any:
        raise Refused(grpc.StatusCode.UNIMPLEMENTED, _NO_STREAMS)

    attach = port_forward = exec

    # --- use of processor and memory

    def container_stats(self, request: Any) -> Any:
        return self.messages.ContainerStatsResponse(stats=self._stats(self._container(request.container_id)))

    def list_container_stats(self, request: Any) -> Any:
        running = [container for container in self._chosen(request.filter) if container.pid]
        return self.messages.ListContainerStatsResponse(stats=[self._stats(container) for container in running])

    def pod_sandbox_stats(self, request: Any) -> Any:
        return self.messages.PodSandboxStatsResponse(stats=self._pod_stats(self._sandbox(request.pod_sandbox_id)))

    def list_pod_sandbox_stats(self, request: Any) -> Any:
        del request
        ready = [sandbox for sandbox in self._all_sandboxes() if sandbox.ready]
        return self.messages.ListPodSandboxStatsResponse(stats=[self._pod_stats(sandbox) for sandbox in ready])

    def list_metric_descriptors(self, request: Any) -> Any:
        del request
        return self.messages.ListMetricDescriptorsResponse()

    def list_pod_sandbox_metrics(self, request: Any) -> Any:
        del request
        return self.messages.ListPodSandboxMetricsResponse()

    # --- the end

    def stop_everything(self) -> None:
        """End every container at once."""
        for container in list(self._containers.values()):
            container.stop(grace_seconds=0)

    # --- what lies behind

    @property
    def _root(self) -> Path:
        """An empty folder: in each container's mount namespace its root is made there."""
        root = self.folder / "root"
        root.mkdir(exist_ok=True)
        return root

    def _sandbox(self, identifier: str) -> PodSandbox:
        try:
            return self._sandboxes[identifier]
        except KeyError:
            raise not_found("pod sandbox", identifier=identifier) from None

    def _container(self, identifier: str) -> Container:
        try:
            return self._containers[identifier]
        except KeyError:
            raise not_found("container", identifier=identifier) from None

    def _all_sandboxes(self) -> list[PodSandbox]:
        with self._lock:
            return list(self._sandboxes.values())

    def _containers_of(self, sandbox: PodSandbox) -> list[Container]:
        return [container for container in list(self._containers.values()) if container.sandbox is sandbox]

    def _chosen(self, wanted: Any) -> list[Container]:
        with self._lock:
            containers = list(self._containers.values())
        return [
            container
            for container in containers
            if container.identifier.startswith(wanted.id)
            and container.sandbox.identifier.startswith(wanted.pod_sandbox_id)
            and _has_labels(container.config.labels, wanted.label_selector)
        ]

    def _sandbox_fields(self, sandbox: PodSandbox) -> dict[str, Any]:
        config = sandbox.config
        return {
            "id": sandbox.identifier,
            "metadata": config.metadata,
            "created_at": sandbox.created_nanoseconds,
            "labels": config.labels,
            "annotations": config.annotations,
            "state": self.messages.SANDBOX_READY if sandbox.ready else self.messages.SANDBOX_NOTREADY,
        }

    def _container_fields(self, container: Container) -> dict[str, Any]:
        config = container.config
        return {
            "id": container.identifier,
            "metadata": config.metadata,
            "state": int(container.state),
            "created_at": container.created_nanoseconds,
            "image": config.image,
            "image_ref": config.image.image,
            "image_id": config.image.image,
            "labels": config.labels,
            "annotations": config.annotations,
        }

    def _stats(self, container: Container) -> Any:
        config = container.config
        attributes = self.messages.ContainerAttributes(
            id=container.identifier, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        )
        stats = self.messages.ContainerStats(attributes=attributes)
        usage = process_usage(container.pid) if container.pid else None
        if usage:
            _fill(stats, usage)
        return stats

    def _pod_stats(self, sandbox: PodSandbox) -> Any:
        config = sandbox.config
        attributes = self.messages.PodSandboxAttributes(
            id=sandbox.identifier, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        )
        stats = self.messages.PodSandboxStats(attributes=attributes)
        total = ProcessUsage(0, 0)
        for container in self._containers_of(sandbox):
            usage = process_usage(container.pid) if container.pid else None
            if usage:
                total += usage
                stats.linux.containers.append(self._stats(container))
        _fill(stats.linux, total)
        return stats


def _fill(stats: Any, usage: ProcessUsage) -> None:
    stats.cpu.timestamp = stats.memory.timestamp = usage.taken_nanoseconds
    stats.cpu.usage_core_nano_seconds.value = usage.processor_nanoseconds
    for field_name in ("working_set_bytes", "rss_bytes", "usage_bytes"):
        getattr(stats.memory, field_name).value = usage.memory_bytes


def _has_labels(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())
