"""How a node's kubelet and kube-proxy are set up, and what its command line accepts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inference_fleet.sandbox.node import MAX_STATE_PATH, kubelet
from inference_fleet.sandbox.node.images import EngineKind
from inference_fleet.sandbox.node.settings import NodeSettings, parse_settings

REQUIRED = ("--name", "node-3", "--index", "3", "--state", "/s", "--kubeconfig", "/k", "--proxy-kubeconfig", "/p")


def settings(*more: str) -> NodeSettings:
    return parse_settings((*REQUIRED, *more))


def labels(command: tuple[str, ...]) -> dict[str, str]:
    (text,) = (word for word in command if word.startswith("--node-labels="))
    return dict(pair.split("=") for pair in text.removeprefix("--node-labels=").split(",") if pair)


def test_the_kubelet_leaves_the_machines_settings_alone() -> None:
    config = kubelet.kubelet_config(settings())
    # Each of these has the kubelet change, or refuse to start over, something of the whole machine.
    assert config["featureGates"] == {"KubeletInUserNamespace": True, "PodAndContainerStatsFromCRI": True}
    assert config["makeIPTablesUtilChains"] is False
    assert config["cgroupsPerQOS"] is False
    assert config["enforceNodeAllocatable"] == []
    assert "protectKernelDefaults" not in config


def test_kube_proxy_leaves_the_machines_table_of_connections_alone() -> None:
    conntrack = kubelet.kube_proxy_config(settings())["conntrack"]
    assert conntrack == {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}


def test_the_machines_memory_and_disk_never_evict_a_pod() -> None:
    assert set(kubelet.kubelet_config(settings())["evictionHard"].values()) == {"0%"}  # type: ignore[attr-defined]


def test_gpus_and_given_labels_are_the_nodes() -> None:
    command = kubelet.kubelet_command(settings("--gpus", "4", "--label", "pool=a", "--label", "x="), program=Path("/b"))
    assert labels(command) == {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.count": "4",
        "nvidia.com/gpu.product": "NVIDIA-L40S",
        "nvidia.com/gpu.memory": "46068",
        "nvidia.com/gpu.replicas": "1",
        "pool": "a",
        "x": "",
    }
    assert "--node-ip=10.244.3.1" in command
    assert "--hostname-override=node-3" in command


def test_a_node_without_gpus_says_nothing_of_them() -> None:
    assert labels(kubelet.kubelet_command(settings(), program=Path("/b"))) == {}


def test_crashed_containers_may_come_back_sooner() -> None:
    config = kubelet.kubelet_config(settings("--longest-restart-seconds", "2"))
    assert config["crashLoopBackOff"] == {"maxContainerRestartPeriod": "2s"}
    assert "crashLoopBackOff" not in kubelet.kubelet_config(settings())


def test_the_configuration_is_written_where_the_programs_read_it(tmp_path: Path) -> None:
    found = settings("--state", str(tmp_path / "n"))
    kubelet.write_configuration(found)
    command = kubelet.kubelet_command(found, program=Path("/b")) + kubelet.kube_proxy_command(found, program=Path("/c"))
    for word in command:
        if word.startswith("--config="):
            assert json.loads(Path(word.removeprefix("--config=")).read_text())["kind"].endswith("Configuration")


def test_settings_are_read() -> None:
    found = settings("--engine", "vllm", "--gpus", "2", "--kubernetes", "1.36.4")
    assert (found.engine, found.gpus.count, found.kubernetes_version) == (EngineKind.VLLM, 2, "1.36.4")
    assert found.gpus.identifiers("node-3") == ("GPU-node-3-0", "GPU-node-3-1")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--index", "0"), "1 to 254"),
        (("--index", "255"), "1 to 254"),
        (("--gpus", "-1"), "0 or more"),
        (("--label", "novalue"), "KEY=VALUE"),
        (("--engine", "trtllm"), "trtllm"),
        (("--kubernetes", "1.2.3"), "1.2.3"),
        (("--state", "/" + "x" * MAX_STATE_PATH), "longer than"),
    ],
)
def test_settings_without_sense_are_refused(
    more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settings(*more)
    assert said in capsys.readouterr().err
