"""Builders of intents, plans and accelerator classes: a small valid object, and what a test says on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.intent import VariantIntent, overlay, variant_intents
from inference_fleet.api.schema_rules import WITHOUT_RULES
from inference_fleet.engine.engine_plan import EffectiveLimits, EnginePlan, MemoryReport
from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.workload.owner import Owner

OWNER = Owner(name="llama-8b", namespace="chat", uid="0b6e2c1e-6f1d-4a53-9a44-1f7f3a1d2c00")

_SPEC: Mapping[str, Any] = {
    "model": {"huggingFace": {"repository": "meta-llama/Llama-3.1-8B-Instruct"}},
    "engine": {"vllm": {"version": "0.33.0"}},
    "variants": [{"name": "h100", "acceleratorClassName": "nvidia-h100-80gb"}],
}
_CLASS: Mapping[str, Any] = {
    "platform": "CUDA",
    "architecture": "9.0",
    "deviceMemory": "81079Mi",
    "devicesPerNode": 8,
    "devices": {"extendedResource": "nvidia.com/gpu"},
}
# Every setting of an engine's type, cache and batching, each with a value that is not its default.
TYPE_CACHE_AND_BATCHING: Mapping[str, Any] = {
    "dtype": "bfloat16",
    "maxModelLen": 8192,
    "quantization": {"method": "fp8_per_tensor"},
    "kvCache": {
        "kvCacheDtype": "fp8",
        "gpuMemoryUtilizationPercent": 90,
        "enablePrefixCaching": False,
        "blockSize": 32,
    },
    "batching": {
        "maxNumSeqs": 256,
        "maxNumActiveSeqs": 128,
        "maxNumBatchedTokens": 8192,
        "enableChunkedPrefill": True,
        "longPrefillTokenThreshold": 4096,
        "maxNumQueuedReqs": 512,
        "maxNumQueuedTokens": 500000,
        "schedulingPolicy": "priority",
        "asyncScheduling": False,
    },
}


def make_intent(*, name: str = OWNER.name, **spec: Any) -> VariantIntent:
    """The first variant of a small spec with `spec` laid over it; `model` replaces the model whole.

    Rules are not asked: a pod must come out safe whatever an object that is older than a rule says.
    """
    laid = InferenceDeploymentSpec.model_validate(overlay(_SPEC, spec), context=WITHOUT_RULES)
    intents = variant_intents(laid, name=name)
    return intents[0]


def accepted_intent(**spec: Any) -> VariantIntent | None:
    """As `make_intent`; None if the spec is refused."""
    try:
        InferenceDeploymentSpec.model_validate(overlay(_SPEC, spec))
    except ValidationError:
        return None
    return make_intent(**spec)


def make_accelerator(**spec: Any) -> AcceleratorClassSpec:
    """An H100 class with `spec` laid over it."""
    return AcceleratorClassSpec.model_validate({**_CLASS, **spec})


def make_plan(**changes: Any) -> EnginePlan:
    """A plan on one device that starts vLLM 0.33."""
    defaults: dict[str, Any] = {
        "version": "0.33.0",
        "image": "vllm/vllm-openai:v0.33.0",
        "command": (),
        "args": ("meta-llama/Llama-3.1-8B-Instruct", "--port=8000", "--max-num-seqs=256"),
        "env": (),
        "devices_per_replica": 1,
        "effective": EffectiveLimits(
            max_model_len=8192, max_num_seqs=256, max_num_batched_tokens=8192, gpu_memory_utilization_percent=92
        ),
        "shape_source": "unknown",
        "memory": MemoryReport(verdict="Unknown"),
        "step_time": StepTimeModel(
            base_seconds=0.01, per_prefill_token_seconds=1e-4, per_decoding_sequence_seconds=1e-4
        ),
        "kv_cache_tokens": None,
    }
    return EnginePlan(**(defaults | changes))
