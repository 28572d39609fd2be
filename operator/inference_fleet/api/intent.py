"""The user's intent for the pods of one variant: common settings with the variant's laid over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from inference_fleet.api.checkpoint import Checkpoint
from inference_fleet.api.inference_deployment import Drain, InferenceDeploymentSpec
from inference_fleet.api.model_base import ApiModel
from inference_fleet.api.pod_settings import PodSettings
from inference_fleet.api.schema_rules import WITHOUT_RULES
from inference_fleet.api.vllm_engine import VllmEngine

# In a variant this method takes a common setting back: vLLM has no method of this name.
UNDO = "none"
_UNDOABLE = ("quantization", "speculative")


class VariantIntent(ApiModel):
    """Everything that makes a pod of one variant what it is. Its hash is the revision."""

    variant: str
    accelerator_class_name: str
    served_model_names: tuple[str, ...]
    model: Checkpoint
    engine: VllmEngine
    pod: PodSettings | None = None
    drain: Drain


def variant_intents(spec: InferenceDeploymentSpec, *, name: str) -> tuple[VariantIntent, ...]:
    """One intent per variant, in the spec's order. `name`: the object's name, the default served name."""
    said = plain(spec)
    common_engine, common_pod = _engine_in(said), said.get("pod") or {}
    intents = []
    for variant in said["variants"]:
        override = _engine_in(variant)
        engine = overlay(common_engine, override)
        if _other_method(common_engine, override):
            engine["speculative"] = override["speculative"]
        for key in _UNDOABLE:
            if (engine.get(key) or {}).get("method") == UNDO:
                del engine[key]
        intent = {
            "variant": variant["name"],
            "acceleratorClassName": variant["acceleratorClassName"],
            "servedModelNames": said.get("servedModelNames") or (name,),
            "model": variant.get("model") or said["model"],
            "engine": engine,
            "pod": overlay(common_pod, variant.get("pod") or {}) or None,
            "drain": said["drain"],
        }
        intents.append(VariantIntent.model_validate(intent, context=WITHOUT_RULES))
    return tuple(intents)


def _engine_in(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    return (settings.get("engine") or {}).get("vllm") or {}


def _other_method(common: Mapping[str, Any], override: Mapping[str, Any]) -> bool:
    """Settings of one speculative method mean nothing to another: then the variant's stand alone."""
    mine, theirs = override.get("speculative"), common.get("speculative")
    return mine is not None and theirs is not None and mine["method"] != theirs["method"]


def plain(model: BaseModel) -> dict[str, Any]:
    """The model as its JSON object, with what was not said left out."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base` leaf by leaf; lists and a checkpoint (a draft model) are replaced whole."""
    result = dict(base)
    for key, value in over.items():
        beneath = result.get(key)
        if isinstance(value, Mapping) and isinstance(beneath, Mapping) and key != "model":
            result[key] = overlay(beneath, value)
        else:
            result[key] = value
    return result
