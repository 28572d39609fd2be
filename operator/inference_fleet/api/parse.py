"""Reading objects: never an exception, always either the spec or what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.conditions import Reason
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.refusal import Refusal

MAXIMUM_REFUSALS = 20


def parse_inference_deployment(obj: Mapping[str, Any]) -> InferenceDeploymentSpec | tuple[Refusal, ...]:
    """The spec of an InferenceDeployment, or why it cannot be read.

    The API server has checked most of this already; an object may be older than a rule, so it is checked again.
    """
    spec = obj.get("spec") if isinstance(obj, Mapping) else None
    if not isinstance(spec, Mapping):
        return (Refusal("spec", Reason.INVALID_SPEC, "is missing or not an object"),)
    try:
        parsed = InferenceDeploymentSpec.model_validate(spec)
    except (ValidationError, RecursionError) as error:
        return _refusals(error, "spec")
    return _contradictions(parsed) or parsed


def parse_accelerator_class(obj: Mapping[str, Any]) -> AcceleratorClassSpec | tuple[Refusal, ...]:
    """The spec of an AcceleratorClass, or why it cannot be read."""
    spec = obj.get("spec") if isinstance(obj, Mapping) else None
    if not isinstance(spec, Mapping):
        return (Refusal("spec", Reason.INVALID_SPEC, "is missing or not an object"),)
    try:
        return AcceleratorClassSpec.model_validate(spec)
    except (ValidationError, RecursionError) as error:
        return _refusals(error, "spec")


def _refusals(error: ValidationError | RecursionError, root: str) -> tuple[Refusal, ...]:
    if isinstance(error, RecursionError):
        return (Refusal(root, Reason.INVALID_SPEC, "is nested too deeply"),)
    return tuple(
        Refusal(path_text(root, item["loc"]), Reason.INVALID_SPEC, _sentence(item["msg"]))
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:MAXIMUM_REFUSALS]
    )


def path_text(root: str, parts: Sequence[int | str]) -> str:
    """`("variants", 0, "engine")` under `spec` -> `spec.variants[0].engine`."""
    text = root
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def _sentence(message: str) -> str:
    return message[0].lower() + message[1:] if message else "is not valid"


def _contradictions(spec: InferenceDeploymentSpec) -> tuple[Refusal, ...]:
    """What the CEL rules say, for objects stored before a rule existed."""
    found: list[Refusal] = []

    def refuse(path: str, message: str) -> None:
        found.append(Refusal(path, Reason.INVALID_SPEC, message))

    if spec.engine.vllm is None:
        refuse("spec.engine", "exactly one engine must be set: vllm")
    checkpoints = [("spec.model", spec.model)]
    names: set[str] = set()
    for index, variant in enumerate(spec.variants):
        path = f"spec.variants[{index}]"
        if variant.name in names:
            refuse(f"{path}.name", f"{variant.name!r} is used twice; variant names must be unique")
        names.add(variant.name)
        if variant.model:
            checkpoints.append((f"{path}.model", variant.model))
        if variant.max_replicas is not None and (variant.min_replicas or 0) > variant.max_replicas:
            refuse(f"{path}.minReplicas", f"{variant.min_replicas} exceeds maxReplicas {variant.max_replicas}")
        override = variant.engine.vllm if variant.engine else None
        if override and override.speculative and override.speculative.model:
            checkpoints.append((f"{path}.engine.vllm.speculative.model", override.speculative.model))
    vllm = spec.engine.vllm
    if vllm and vllm.speculative and vllm.speculative.model:
        checkpoints.append(("spec.engine.vllm.speculative.model", vllm.speculative.model))
    for path, checkpoint in checkpoints:
        sources = (checkpoint.hugging_face, checkpoint.persistent_volume_claim, checkpoint.image, checkpoint.s3)
        if sum(source is not None for source in sources) != 1:
            refuse(path, "exactly one of huggingFace, persistentVolumeClaim, image, s3 must be set")
    if spec.scaling.min_replicas > spec.scaling.max_replicas:
        refuse(
            "spec.scaling.minReplicas", f"{spec.scaling.min_replicas} exceeds maxReplicas {spec.scaling.max_replicas}"
        )
    for index, objective in enumerate(spec.objectives or ()):
        if not 0 < objective.target_ratio < 1:
            refuse(f"spec.objectives[{index}].targetPercent", "must lie above 0 and below 100")
    return tuple(found[:MAXIMUM_REFUSALS])
