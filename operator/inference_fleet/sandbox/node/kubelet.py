"""Configuration and command lines of the real kubelet and kube-proxy for a node of the sandbox."""

from __future__ import annotations

import json
from pathlib import Path

from inference_fleet.sandbox.node import POD_NETWORK
from inference_fleet.sandbox.node.sandbox_network import node_address
from inference_fleet.sandbox.node.settings import NodeSettings

RUNTIME_SOCKET = "runtime.sock"
# Where the kubelet keeps its files under the state folder; their names stay short for the sockets among them.
_FOLDERS = ("kubelet", "certificates", "pod-logs", "plugins")
KUBELET_CONFIG, PROXY_CONFIG = "kubelet.json", "kube-proxy.json"


def kubelet_config(settings: NodeSettings) -> dict[str, object]:
    """A KubeletConfiguration (kubelet.config.k8s.io/v1beta1)."""
    socket = f"unix://{settings.state / RUNTIME_SOCKET}"
    config: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # Only the sandbox's own network namespaces reach it.
        "address": "0.0.0.0",  # noqa: S104
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "readOnlyPort": 0,
        "containerRuntimeEndpoint": socket,
        "imageServiceEndpoint": socket,
        "podLogsDir": str(settings.state / "pod-logs"),
        "volumePluginDir": str(settings.state / "plugins"),
        # No control groups: a process of the sandbox has none to give.
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        # Neither the machine's settings nor its rules are the sandbox's to change: in a user namespace the kubelet
        # goes on where it cannot set vm.overcommit_memory, kernel.panic and the like.
        "featureGates": {"KubeletInUserNamespace": True, "PodAndContainerStatsFromCRI": True},
        "makeIPTablesUtilChains": False,
        # The machine's memory and disk are shared with everything else on it: never a reason to end a pod.
        "evictionHard": dict.fromkeys(
            ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"),
            "0%",
        ),
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        # A pull is a look-up here; with the default limit of 5 a second pods would wait for one another.
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "resolvConf": "",
        "maxPods": 250,
    }
    if settings.longest_restart_seconds is not None:
        config["crashLoopBackOff"] = {"maxContainerRestartPeriod": f"{settings.longest_restart_seconds}s"}
    return config


def kubelet_command(settings: NodeSettings, *, program: Path) -> tuple[str, ...]:
    """The kubelet's command line."""
    state = settings.state
    labels = {**settings.gpus.labels(), **dict(settings.labels)}
    return (
        str(program),
        f"--config={state / KUBELET_CONFIG}",
        f"--kubeconfig={settings.kubeconfig}",
        f"--root-dir={state / 'kubelet'}",
        f"--cert-dir={state / 'certificates'}",
        f"--hostname-override={settings.name}",
        f"--node-ip={node_address(settings.index)}",
        f"--node-labels={','.join(f'{key}={value}' for key, value in labels.items())}",
        "--v=2",
    )


def kube_proxy_config(settings: NodeSettings) -> dict[str, object]:
    """A KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1)."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": settings.name,
        "clientConnection": {"kubeconfig": str(settings.proxy_kubeconfig)},
        "clusterCIDR": POD_NETWORK,
        # All zero: leave the machine's table of connections as it is.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def kube_proxy_command(settings: NodeSettings, *, program: Path) -> tuple[str, ...]:
    """kube-proxy's command line."""
    return (str(program), f"--config={settings.state / PROXY_CONFIG}", "--v=1")


def write_configuration(settings: NodeSettings) -> None:
    """Make the folders and write both configurations (JSON is YAML)."""
    for folder in _FOLDERS:
        (settings.state / folder).mkdir(parents=True, exist_ok=True)
    for name, config in ((KUBELET_CONFIG, kubelet_config(settings)), (PROXY_CONFIG, kube_proxy_config(settings))):
        (settings.state / name).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
