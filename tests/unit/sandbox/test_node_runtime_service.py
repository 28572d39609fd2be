"""The runtime's answers to the kubelet: states of sandboxes and containers, with made-up processes."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

from inference_fleet.sandbox.node.container_log import ContainerLog
from inference_fleet.sandbox.node.container_process import LaunchFailedError, exit_code
from inference_fleet.sandbox.node.grpc_services import Refused
from inference_fleet.sandbox.node.image_service import ImageService
from inference_fleet.sandbox.node.images import EngineKind, ImageCatalog
from inference_fleet.sandbox.node.launcher import LaunchOrder
from inference_fleet.sandbox.node.model_folder import write_model_folder
from inference_fleet.sandbox.node.runtime_service import RuntimeService
from inference_fleet.sandbox.node.sandbox_network import NetworkError, PodLink
from inference_fleet.sandbox.stubs_generation import load_stubs
from inference_fleet.sandbox.tools import ToolUnavailable

ENGINE = "vllm/vllm-openai:v0.33.0"
CREATED, RUNNING, EXITED = 0, 1, 2


class FakeProcess:
    """Ends when told, or at a signal it does not ignore."""

    def __init__(self, order: LaunchOrder, exited: Callable[[int], None], *, ignored: tuple[int, ...]) -> None:
        self.order = order
        self.pid = 1 << 30  # no such process
        self.signals: list[int] = []
        self._ignored = ignored
        self._exited = exited
        self._over = False

    def end(self, code: int) -> None:
        self._over = True
        self._exited(code)

    def signal(self, number: int) -> None:
        self.signals.append(number)
        if not self._over and number not in self._ignored:
            self.end(exit_code(-number))

    def wait(self, seconds: float) -> bool:
        return self._over


class FakeMachine:
    """Network and processes."""

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.connected: set[str] = set()
        self.launch_failure = ""
        self.network_failure = ""
        self.ignored: tuple[int, ...] = ()
        self._numbers = itertools.count(2)

    def launch(self, order: LaunchOrder, log: ContainerLog, exited: Callable[[int], None]) -> FakeProcess:
        if self.launch_failure:
            raise LaunchFailedError(self.launch_failure)
        self.processes.append(FakeProcess(order, exited, ignored=self.ignored))
        return self.processes[-1]

    def connect(self) -> PodLink:
        if self.network_failure:
            raise NetworkError(self.network_failure)
        link = PodLink(f"10.244.1.{next(self._numbers)}", descriptor=99)
        self.connected.add(link.address)
        return link

    def disconnect(self, link: PodLink) -> None:
        self.connected.remove(link.address)


@pytest.fixture(scope="module")
def cri() -> ModuleType:
    try:
        return load_stubs().runtime
    except ToolUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


@pytest.fixture
def runtime(cri: ModuleType, machine: FakeMachine, tmp_path: Path) -> Iterator[RuntimeService]:
    service = RuntimeService(cri, ImageCatalog(engine=EngineKind.EMULATED), machine, machine.launch, folder=tmp_path)
    yield service
    service.stop_everything()


def sandbox(runtime: RuntimeService, folder: Path, **fields: Any) -> str:
    cri = runtime.messages
    metadata = cri.PodSandboxMetadata(name="p", uid="u", namespace="n")
    config = cri.PodSandboxConfig(metadata=metadata, hostname="p", log_directory=str(folder / "logs"), **fields)
    return str(runtime.run_pod_sandbox(cri.RunPodSandboxRequest(config=config)).pod_sandbox_id)


def container(runtime: RuntimeService, pod: str, **fields: Any) -> str:
    cri = runtime.messages
    given = {"image": cri.ImageSpec(image=ENGINE), "args": ["m"], "log_path": "engine/0.log", **fields}
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name="engine"), **given)
    request = cri.CreateContainerRequest(pod_sandbox_id=pod, config=config)
    return str(runtime.create_container(request).container_id)


def start(runtime: RuntimeService, identifier: str) -> None:
    runtime.start_container(runtime.messages.StartContainerRequest(container_id=identifier))


def stop(runtime: RuntimeService, identifier: str, *, timeout: int) -> None:
    runtime.stop_container(runtime.messages.StopContainerRequest(container_id=identifier, timeout=timeout))


def status(runtime: RuntimeService, identifier: str) -> Any:
    return runtime.container_status(runtime.messages.ContainerStatusRequest(container_id=identifier)).status


def test_a_container_is_created_runs_and_has_exited(
    runtime: RuntimeService, machine: FakeMachine, tmp_path: Path
) -> None:
    identifier = container(runtime, sandbox(runtime, tmp_path))
    assert status(runtime, identifier).state == CREATED
    start(runtime, identifier)
    running = status(runtime, identifier)
    assert (running.state, running.started_at >= running.created_at) == (RUNNING, True)
    machine.processes[0].end(3)
    over = status(runtime, identifier)
    assert (over.state, over.exit_code, over.reason) == (EXITED, 3, "Error")
    assert over.finished_at >= over.started_at > 0
    assert Path(over.log_path) == tmp_path / "logs/engine/0.log"


def test_a_clean_end_is_completed(runtime: RuntimeService, machine: FakeMachine, tmp_path: Path) -> None:
    identifier = container(runtime, sandbox(runtime, tmp_path))
    start(runtime, identifier)
    machine.processes[0].end(0)
    assert (status(runtime, identifier).exit_code, status(runtime, identifier).reason) == (0, "Completed")


def test_a_container_starts_once(runtime: RuntimeService, tmp_path: Path) -> None:
    identifier = container(runtime, sandbox(runtime, tmp_path))
    start(runtime, identifier)
    with pytest.raises(Refused, match="running"):
        start(runtime, identifier)
    assert status(runtime, identifier).state == RUNNING


@pytest.mark.parametrize(
    ("timeout", "ignored", "signals", "code"),
    [
        (30, (), [signal.SIGTERM], 143),
        (30, (signal.SIGTERM,), [signal.SIGTERM, signal.SIGKILL], 137),
        (0, (), [signal.SIGKILL], 137),
    ],
)
def test_a_stop_asks_first_and_kills_after_the_grace(
    runtime: RuntimeService,
    machine: FakeMachine,
    tmp_path: Path,
    *,
    timeout: int,
    ignored: tuple[int, ...],
    signals: list[int],
    code: int,
) -> None:
    machine.ignored = ignored
    identifier = container(runtime, sandbox(runtime, tmp_path))
    start(runtime, identifier)
    stop(runtime, identifier, timeout=timeout)
    assert machine.processes[0].signals == signals
    assert (status(runtime, identifier).state, status(runtime, identifier).exit_code) == (EXITED, code)
    stop(runtime, identifier, timeout=timeout)  # a stopped container stays as it is
    assert machine.processes[0].signals == signals


def test_a_containers_own_stop_signal_is_used(runtime: RuntimeService, machine: FakeMachine, tmp_path: Path) -> None:
    usr1 = runtime.messages.Signal.Value("SIGNAL_SIGUSR1")
    identifier = container(runtime, sandbox(runtime, tmp_path), stop_signal=usr1)
    start(runtime, identifier)
    stop(runtime, identifier, timeout=5)
    assert machine.processes[0].signals == [signal.SIGUSR1]


def test_a_container_that_never_ran_stops_as_killed(runtime: RuntimeService, tmp_path: Path) -> None:
    identifier = container(runtime, sandbox(runtime, tmp_path))
    stop(runtime, identifier, timeout=5)
    assert (status(runtime, identifier).state, status(runtime, identifier).exit_code) == (EXITED, 137)


def test_a_launch_that_fails_is_a_start_error(runtime: RuntimeService, machine: FakeMachine, tmp_path: Path) -> None:
    machine.launch_failure = "python: No such file or directory"
    identifier = container(runtime, sandbox(runtime, tmp_path))
    with pytest.raises(Refused, match="No such file"):
        start(runtime, identifier)
    over = status(runtime, identifier)
    assert (over.state, over.exit_code, over.reason, over.message) == (
        EXITED,
        128,
        "StartError",
        machine.launch_failure,
    )


def test_a_command_that_is_not_mapped_does_not_start(
    runtime: RuntimeService, machine: FakeMachine, tmp_path: Path
) -> None:
    identifier = container(runtime, sandbox(runtime, tmp_path), command=["sh", "-c", "true"])
    with pytest.raises(Refused, match="only vllm"):
        start(runtime, identifier)
    assert machine.processes == []
    assert status(runtime, identifier).reason == "StartError"


def test_the_order_carries_user_network_volumes_and_environment(
    runtime: RuntimeService, machine: FakeMachine, tmp_path: Path
) -> None:
    cri = runtime.messages
    security = cri.LinuxContainerSecurityContext(
        run_as_user=cri.Int64Value(value=1000), run_as_group=cri.Int64Value(value=2000), readonly_rootfs=True
    )
    identifier = container(
        runtime,
        sandbox(runtime, tmp_path),
        linux=cri.LinuxContainerConfig(security_context=security),
        mounts=[cri.Mount(host_path="/a", container_path="/b", readonly=True)],
        envs=[cri.KeyValue(key="HOME", value=b"/cache")],
        working_dir="/w",
    )
    start(runtime, identifier)
    order = machine.processes[0].order
    assert (order.user, order.group, order.read_only_root) == (1000, 2000, True)
    assert (order.network, order.folder, order.host_name) == (99, "/w", "p")
    resolver, given = sorted(order.volumes, key=lambda volume: volume.source == "/a")
    assert (given.source, given.target, given.read_only) == ("/a", "/b", True)
    assert resolver.target == "/etc/resolv.conf"
    assert order.environment["HOME"] == "/cache"
    assert order.environment["INFERENCE_FLEET_EMULATOR_VERSION"] == "0.33.0"


def test_an_image_volume_is_the_images_folder_read_only(cri: ModuleType, machine: FakeMachine, tmp_path: Path) -> None:
    model = write_model_folder(tmp_path / "model")
    catalog = ImageCatalog(engine=EngineKind.EMULATED, model=model)
    runtime = RuntimeService(cri, catalog, machine, machine.launch, folder=tmp_path)
    pod = sandbox(runtime, tmp_path)
    image = cri.ImageSpec(image="example.com/inference-fleet/tiny-model@sha256:" + "0" * 64)
    start(runtime, container(runtime, pod, mounts=[cri.Mount(image=image, container_path="/weights")]))
    (volume,) = [each for each in machine.processes[0].order.volumes if each.target == "/weights"]
    assert (volume.source, volume.read_only) == (str(model), True)
    assert (model / "config.json").is_file()
    for more in ({"image": cri.ImageSpec(image="busybox")}, {"image": image, "image_sub_path": "missing"}):
        with pytest.raises(Refused, match=r"busybox|missing"):
            start(runtime, container(runtime, pod, mounts=[cri.Mount(container_path="/weights", **more)]))
    runtime.stop_everything()


def test_names_are_looked_up_where_the_pod_says_and_nowhere_else(
    runtime: RuntimeService, machine: FakeMachine, tmp_path: Path
) -> None:
    cri = runtime.messages
    dns = cri.DNSConfig(servers=["10.96.0.10"], searches=["a.svc", "svc"], options=["ndots:5"])
    texts = []
    for fields in ({"dns_config": dns}, {}):
        pod = sandbox(runtime, tmp_path, **fields)
        start(runtime, container(runtime, pod))
        (volume,) = machine.processes[-1].order.volumes
        texts.append(Path(volume.source).read_text())
        runtime.remove_pod_sandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=pod))
        assert not Path(volume.source).exists()
    assert texts == ["nameserver 10.96.0.10\nsearch a.svc svc\noptions ndots:5\n", ""]


def test_a_stopped_sandbox_has_ended_its_containers_and_given_back_its_address(
    runtime: RuntimeService, machine: FakeMachine, tmp_path: Path
) -> None:
    cri = runtime.messages
    pod = sandbox(runtime, tmp_path)
    shown = runtime.pod_sandbox_status(cri.PodSandboxStatusRequest(pod_sandbox_id=pod)).status
    assert (shown.network.ip, shown.state) == ("10.244.1.2", cri.SANDBOX_READY)
    running, unstarted = container(runtime, pod), container(runtime, pod)
    start(runtime, running)
    for _ in range(2):  # the kubelet may ask twice
        runtime.stop_pod_sandbox(cri.StopPodSandboxRequest(pod_sandbox_id=pod))
    assert machine.connected == set()
    assert status(runtime, running).state == EXITED
    with pytest.raises(Refused, match="stopped"):
        start(runtime, unstarted)
    runtime.remove_pod_sandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=pod))
    for gone in (running, unstarted):
        with pytest.raises(Refused) as refused:
            status(runtime, gone)
        assert refused.value.code is grpc.StatusCode.NOT_FOUND


def test_a_pod_on_the_nodes_network_has_no_address_of_its_own(runtime: RuntimeService, tmp_path: Path) -> None:
    cri = runtime.messages
    options = cri.NamespaceOption(network=cri.NODE)
    security = cri.LinuxSandboxSecurityContext(namespace_options=options)
    pod = sandbox(runtime, tmp_path, linux=cri.LinuxPodSandboxConfig(security_context=security))
    assert runtime.pod_sandbox_status(cri.PodSandboxStatusRequest(pod_sandbox_id=pod)).status.network.ip == ""


def test_no_address_left_is_said(runtime: RuntimeService, machine: FakeMachine, tmp_path: Path) -> None:
    machine.network_failure = "all addresses are taken"
    with pytest.raises(Refused, match="taken"):
        sandbox(runtime, tmp_path)


def test_lists_are_filtered_by_state_label_and_sandbox(runtime: RuntimeService, tmp_path: Path) -> None:
    cri = runtime.messages
    first, second = sandbox(runtime, tmp_path, labels={"a": "1"}), sandbox(runtime, tmp_path)
    running, created = container(runtime, first), container(runtime, second, labels={"b": "2"})
    start(runtime, running)

    def listed(**fields: Any) -> list[str]:
        request = cri.ListContainersRequest(filter=cri.ContainerFilter(**fields))
        return [item.id for item in runtime.list_containers(request).containers]

    assert listed() == [running, created]
    assert listed(state=cri.ContainerStateValue(state=RUNNING)) == [running]
    assert listed(label_selector={"b": "2"}) == [created]
    assert listed(pod_sandbox_id=first) == [running]
    request = cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(label_selector={"a": "1"}))
    assert [item.id for item in runtime.list_pod_sandbox(request).items] == [first]


def test_exec_in_a_container_that_does_not_run_is_refused(runtime: RuntimeService, tmp_path: Path) -> None:
    identifier = container(runtime, sandbox(runtime, tmp_path))
    with pytest.raises(Refused, match="not running"):
        runtime.exec_sync(runtime.messages.ExecSyncRequest(container_id=identifier, cmd=["true"]))
    with pytest.raises(Refused, match="no streams"):
        runtime.exec(runtime.messages.ExecRequest(container_id=identifier))


# In nsenter's place: runs what comes after `--` as a child that outlives it unless both are killed.
NSENTER = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
"$@" &
wait $!
"""


@pytest.fixture
def nsenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nsenter").write_text(NSENTER)
    (folder / "nsenter").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.usefixtures("nsenter")
def test_exec_answers_with_output_and_status_in_the_containers_environment(
    runtime: RuntimeService, tmp_path: Path
) -> None:
    cri = runtime.messages
    variable = cri.KeyValue(key="WORD", value=b"said")
    identifier = container(runtime, sandbox(runtime, tmp_path), envs=[variable])
    start(runtime, identifier)
    command = ["sh", "-c", "echo $WORD; echo no >&2; exit 3"]
    done = runtime.exec_sync(cri.ExecSyncRequest(container_id=identifier, cmd=command))
    assert (done.stdout, done.stderr, done.exit_code) == (b"said\n", b"no\n", 3)


@pytest.mark.usefixtures("nsenter")
def test_exec_that_takes_too_long_is_killed_with_its_children(runtime: RuntimeService, tmp_path: Path) -> None:
    identifier = container(runtime, sandbox(runtime, tmp_path))
    start(runtime, identifier)
    request = runtime.messages.ExecSyncRequest(container_id=identifier, cmd=["sleep", "600"], timeout=1)
    # With only nsenter killed its child would hold the pipes, and this call, for 600 s.
    with pytest.raises(Refused, match="longer than 1 s") as refused:
        runtime.exec_sync(request)
    assert refused.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_only_known_images_can_be_pulled(cri: ModuleType) -> None:
    images = ImageService(cri, ImageCatalog(engine=EngineKind.EMULATED), folder="/")
    pulled = images.pull_image(cri.PullImageRequest(image=cri.ImageSpec(image=ENGINE)))
    assert pulled.image_ref == ENGINE
    assert not images.image_status(cri.ImageStatusRequest(image=cri.ImageSpec(image="busybox"))).HasField("image")
    with pytest.raises(Refused, match="pulls nothing") as refused:
        images.pull_image(cri.PullImageRequest(image=cri.ImageSpec(image="busybox")))
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
