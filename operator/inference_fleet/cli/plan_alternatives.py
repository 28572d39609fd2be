"""What other settings of a variant would change, by the same estimate: smaller weights, a smaller cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from inference_fleet.api.intent import overlay, plain
from inference_fleet.api.schema_rules import WITHOUT_RULES
from inference_fleet.api.vllm_engine import VllmEngine
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.engine_plan import EnginePlan
from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.planning.acceptance import VariantAcceptance

_CHANGES: Mapping[str, Mapping[str, object]] = {
    "quantization fp8_per_tensor": {"quantization": {"method": "fp8_per_tensor"}},
    "kvCacheDtype fp8": {"kvCache": {"kvCacheDtype": "fp8"}},
}


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A change as a user would write it, and the plan that it leads to."""

    change: str
    plan: EnginePlan


def alternatives(variant: VariantAcceptance, *, config: ModelFacts | None) -> Iterator[Alternative]:
    """Those that release and accelerator take, that are not set yet, and of which something can be estimated."""
    if variant.engine is None or variant.accelerator is None:
        return
    settings = plain(variant.intent.engine)
    for change, laid in _CHANGES.items():
        changed = overlay(settings, laid)
        quantized = settings.get("quantization") is not None and "quantization" in laid
        if quantized or changed == settings:
            continue
        engine = VllmEngine.model_validate(changed, context=WITHOUT_RULES)
        intent = variant.intent.model_copy(update={"engine": engine})
        name = variant.intent.accelerator_class_name
        plan = check_variant(intent, variant.accelerator, accelerator_name=name, shape=config).plan
        if plan is not None and plan.estimate is not None:
            yield Alternative(change=change, plan=plan)
