"""Volumes of an engine's pod: shared memory, scratch, caches and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from inference_fleet.api.checkpoint import Checkpoint
from inference_fleet.api.intent import VariantIntent
from inference_fleet.api.names import ANNOTATION_ENGINE_LOGGING
from inference_fleet.engine.engine_plan import CACHE_MOUNT, DRAFT_WEIGHTS_MOUNT, WEIGHTS_MOUNT, EnginePlan

HOME: Final = "/home/engine"
_LOGGING_FOLDER: Final = "/logging"
_LOGGING_FILE: Final = "vllm.json"
LOGGING_PATH: Final = f"{_LOGGING_FOLDER}/{_LOGGING_FILE}"
# Tensor-parallel workers hand tensors through /dev/shm; the container's default of 64 MiB crashes them.
SHARED_MEMORY_GIBIBYTES_PER_DEVICE: Final = 2


@dataclass(frozen=True)
class Mounted:
    """A volume and where the engine's container mounts it."""

    volume: dict[str, Any]
    path: str
    read_only: bool = False

    @property
    def mount(self) -> dict[str, Any]:
        """The volumeMount."""
        mount = {"name": self.volume["name"], "mountPath": self.path}
        return {**mount, "readOnly": True} if self.read_only else mount


def engine_volumes(intent: VariantIntent, *, engine: EnginePlan) -> tuple[Mounted, ...]:
    """All volumes, in a fixed order."""
    shared = intent.pod.shared_memory if intent.pod else None
    devices = max(1, engine.devices_per_replica)
    limit = shared.size_limit if shared else f"{SHARED_MEMORY_GIBIBYTES_PER_DEVICE * devices}Gi"
    found = [
        Mounted({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": limit}}, "/dev/shm"),  # noqa: S108 - the pod's own
        Mounted({"name": "tmp", "emptyDir": {}}, "/tmp"),  # noqa: S108 - the pod's own
        Mounted({"name": "home", "emptyDir": {}}, HOME),
        Mounted({"name": "cache", **_cache(intent.model)}, CACHE_MOUNT),
    ]
    found += [_logging()] if engine.logging is not None else []
    weights = _weights(intent.model, name="weights", path=WEIGHTS_MOUNT)
    found += [weights] if weights else []
    speculative = intent.engine.speculative
    if speculative is not None and speculative.model is not None:
        draft = _weights(speculative.model, name="draft-weights", path=DRAFT_WEIGHTS_MOUNT)
        found += [draft] if draft else []
    return tuple(found)


def _logging() -> Mounted:
    """An annotation of the pod itself as a file: it needs no object beside the pod, and no right to make one."""
    source = {"fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION_ENGINE_LOGGING}']"}}
    items = [{"path": _LOGGING_FILE, **source}]
    return Mounted({"name": "engine-logging", "downwardAPI": {"items": items}}, _LOGGING_FOLDER, read_only=True)


def _cache(model: Checkpoint) -> dict[str, Any]:
    if model.cache is None:
        return {"emptyDir": {}}
    return {"persistentVolumeClaim": {"claimName": model.cache.persistent_volume_claim.claim_name}}


def _weights(model: Checkpoint, *, name: str, path: str) -> Mounted | None:
    if model.persistent_volume_claim is not None:
        claim = {"claimName": model.persistent_volume_claim.claim_name, "readOnly": True}
        return Mounted({"name": name, "persistentVolumeClaim": claim}, path, read_only=True)
    if model.image is not None:
        image = {"reference": model.image.reference, "pullPolicy": "IfNotPresent"}
        return Mounted({"name": name, "image": image}, path, read_only=True)
    return None
