"""The GPUs that a node says it has, with the labels that GPU feature discovery sets on such a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Where the kubelet listens for device plug-ins (k8s.io/kubelet, deviceplugin/v1beta1/constants.go).
PLUGIN_FOLDER = Path("/var/lib/kubelet/device-plugins")


@dataclass(frozen=True)
class Gpus:
    """The GPUs of a node, all of one kind; the product is named as feature discovery does, for example NVIDIA-L40S."""

    count: int
    product: str
    memory_mebibytes: int

    def identifiers(self, node: str) -> tuple[str, ...]:
        """A name for each, unique in the cluster."""
        return tuple(f"GPU-{node}-{number}" for number in range(self.count))

    def labels(self) -> Mapping[str, str]:
        """As GPU feature discovery writes them (NVIDIA/k8s-device-plugin, docs/gpu-feature-discovery)."""
        if not self.count:
            return {}
        return {
            "nvidia.com/gpu.present": "true",
            "nvidia.com/gpu.count": str(self.count),
            "nvidia.com/gpu.product": self.product,
            "nvidia.com/gpu.memory": str(self.memory_mebibytes),
            "nvidia.com/gpu.replicas": "1",
        }
