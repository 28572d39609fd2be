"""Whether a spec makes sense: read, merged per variant, and checked against its accelerators and engine version."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.conditions import Reason
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec, Rollout
from inference_fleet.api.intent import VariantIntent, variant_intents
from inference_fleet.api.objective import Objective
from inference_fleet.api.parse import merged_refusals, parse_accelerator_class, parse_inference_deployment
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.engine_plan import EnginePlan, MemoryReport
from inference_fleet.engine.metrics import judged_edge_seconds, next_edge_seconds
from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.planning.other_checkpoints import other_checkpoint
from inference_fleet.planning.schedules import schedule_refusals
from inference_fleet.planning.snapshot import Object, Snapshot

Remark = TypeVar("Remark", Refusal, Advice)
# Checked specs that are kept: a thousand objects with a spec under way each.
_KEPT: Final = 2048
# nvidia-l4 for nvidia-l5 (0.89), but not nvidia-a10 for nvidia-v100 (0.86): names of devices differ in few letters.
_NEAR_ENOUGH: Final = 0.88


@dataclass(frozen=True)
class VariantAcceptance:
    """One variant: its merged intent, and either how it runs or why it cannot."""

    intent: VariantIntent
    accelerator: AcceleratorClassSpec | None
    engine: EnginePlan | None
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[Advice, ...] = ()
    too_large: MemoryReport | None = None

    @property
    def memory(self) -> MemoryReport | None:
        """Of the plan, or the numbers that it was refused by."""
        return self.engine.memory if self.engine else self.too_large

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.intent.variant


@dataclass(frozen=True)
class Acceptance:
    """The verdict on one spec. spec is None if it cannot be read; then there are refusals and no variants."""

    spec: InferenceDeploymentSpec | None
    variants: tuple[VariantAcceptance, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[Advice, ...] = ()

    @property
    def accepted(self) -> bool:
        """A bad variant does not stop its siblings; with no good one left nothing is accepted."""
        return self.spec is not None and not self.refusals and any(not variant.refusals for variant in self.variants)

    @property
    def all_refusals(self) -> tuple[Refusal, ...]:
        """Of the object and of every variant."""
        return self.refusals + tuple(refusal for variant in self.variants for refusal in variant.refusals)

    @property
    def all_warnings(self) -> tuple[Advice, ...]:
        """Of the object and of every variant, each once."""
        found = self.warnings + tuple(advice for variant in self.variants for advice in variant.warnings)
        return tuple(dict.fromkeys(found))


def accept(spec: Mapping[str, Any], snapshot: Snapshot, *, config: ModelFacts | None = None) -> Acceptance:
    """Check a spec (the object's own, or a former one) for this object against the classes of the cluster.

    config: what the config.json of the common model says, where somebody has it at hand.
    """
    metadata = snapshot.deployment["metadata"]
    names = _class_names(spec)
    classes = tuple(
        (name, _text(snapshot.accelerator_classes[name].get("spec")))
        for name in sorted(names)
        if name in snapshot.accelerator_classes
    )
    # Only where a name is missing: otherwise every class that comes or goes would have every spec checked anew.
    others = () if len(classes) == len(names) else tuple(sorted(snapshot.accelerator_classes))
    labels = None if snapshot.namespace_labels is None else tuple(sorted(snapshot.namespace_labels.items()))
    return _accept(_text(spec), str(metadata["name"]), classes, others, labels, config)


# The same spec is looked at on every reconcile and every tick; texts make the key, so that nothing mutable is shared.
@lru_cache(maxsize=_KEPT)
def _accept(
    spec_text: str,
    name: str,
    class_texts: tuple[tuple[str, str], ...],
    class_names: tuple[str, ...],
    namespace_labels: tuple[tuple[str, str], ...] | None,
    config: ModelFacts | None,
) -> Acceptance:
    parsed = parse_inference_deployment({"spec": json.loads(spec_text)})
    if isinstance(parsed, tuple):
        return Acceptance(spec=None, refusals=parsed)
    refusals = (*schedule_refusals(parsed.scaling.schedules or ()), *_scaling_refusals(parsed))
    if refusals:
        return Acceptance(spec=parsed, refusals=refusals)
    classes = {key: json.loads(text) for key, text in class_texts}
    labels = None if namespace_labels is None else dict(namespace_labels)
    variants = tuple(
        _accept_variant(
            intent,
            index=index,
            spec=parsed,
            accelerator=_accelerator(
                intent,
                f"spec.variants[{index}].acceleratorClassName",
                classes,
                known=class_names,
                namespace_labels=labels,
            ),
            config=config,
        )
        for index, intent in enumerate(variant_intents(parsed, name=name))
    )
    return Acceptance(spec=parsed, variants=variants, warnings=_warnings(parsed))


def _accept_variant(
    intent: VariantIntent,
    *,
    index: int,
    spec: InferenceDeploymentSpec,
    accelerator: AcceleratorClassSpec | Refusal,
    config: ModelFacts | None,
) -> VariantAcceptance:
    if isinstance(accelerator, Refusal):
        return VariantAcceptance(intent, accelerator=None, engine=None, refusals=(accelerator,))
    # A variant with a checkpoint of its own is another model.
    shape = config if spec.variants[index].model is None else None
    result = check_variant(intent, accelerator, accelerator_name=intent.accelerator_class_name, shape=shape)

    def placed(remark: Remark) -> Remark:
        override = spec.variants[index].model_dump(by_alias=True, exclude_none=True)
        root = f"spec.variants[{index}]" if _says(override, remark.path) else "spec"
        return dataclasses.replace(remark, path=f"{root}.{remark.path}", variant=intent.variant)

    merged = tuple(
        dataclasses.replace(refusal, variant=intent.variant)
        for refusal in merged_refusals(intent.pod, path=f"spec.variants[{index}].pod")
    )
    beside = tuple(other_checkpoint(intent, index=index, spec=spec, config=config))
    own = merged + tuple(remark for remark in beside if isinstance(remark, Refusal))
    return VariantAcceptance(
        intent,
        accelerator=accelerator,
        engine=None if own else result.plan,
        refusals=tuple(placed(refusal) for refusal in result.refusals) + own,
        warnings=tuple(placed(advice) for advice in result.warnings)
        + tuple(remark for remark in beside if isinstance(remark, Advice)),
        too_large=result.memory,
    )


def _accelerator(
    intent: VariantIntent,
    path: str,
    classes: Mapping[str, Any],
    *,
    known: Sequence[str],
    namespace_labels: Mapping[str, str] | None,
) -> AcceleratorClassSpec | Refusal:
    """The class of a variant. classes: those that the spec names and the cluster has; known: names of all it has."""
    name = intent.accelerator_class_name
    if name not in classes:
        message = f"there is no AcceleratorClass {name!r}."
        # nvidia-h100 is nvidia-h100-80gb rather than nvidia-h200.
        near = [each for each in known if each.startswith(name)]
        near = near or difflib.get_close_matches(name, known, n=1, cutoff=_NEAR_ENOUGH)
        way_out = f"Did you mean {near[0]!r}?" if near else "Create it, or use one that exists:"
        way_out += " `kubectl get acceleratorclasses` lists them."
        return Refusal(path, Reason.ACCELERATOR_CLASS_NOT_FOUND, message, way_out, intent.variant)
    parsed = parse_accelerator_class({"spec": classes[name]})
    if isinstance(parsed, tuple):
        message = f"AcceleratorClass {name!r} cannot be used: {parsed[0].text()}"
        return Refusal(path, Reason.ACCELERATOR_CLASS_INVALID, message, None, intent.variant)
    selector = parsed.namespace_selector
    if selector is not None and selector.match_labels:
        labels = namespace_labels or {}
        if any(labels.get(key) != value for key, value in selector.match_labels.items()):
            message = f"AcceleratorClass {name!r} is not open to this namespace"
            way_out = "Ask the platform team for the labels that its namespaceSelector wants."
            return Refusal(path, Reason.ACCELERATOR_CLASS_NOT_ALLOWED, message, way_out, intent.variant)
    return parsed


def _scaling_refusals(spec: InferenceDeploymentSpec) -> tuple[Refusal, ...]:
    if spec.scaling.mode != "Automatic" or spec.scaling.min_replicas > 0:
        return ()
    message = "0 replicas could never be left again: nothing holds or counts requests while no engine runs"
    way_out = "Set 1 or more; a schedule with maxReplicas 0 turns the model off at set times."
    return (Refusal("spec.scaling.minReplicas", Reason.NOT_SUPPORTED_YET, message, way_out),)


def _warnings(spec: InferenceDeploymentSpec) -> tuple[Advice, ...]:
    found = []
    if spec.scaling.mode == "Automatic" and spec.replicas is not None:
        found.append(
            Advice("spec.replicas", Reason.IGNORED, "is ignored while scaling.mode is Automatic", "Leave it out.")
        )
    if spec.scaling.mode != "Automatic" and spec.scaling.schedules:
        found.append(Advice("spec.scaling.schedules", Reason.IGNORED, "is ignored unless scaling.mode is Automatic"))
    if spec.rollout.on_no_surge_capacity != "Wait":
        found.append(
            Advice(
                "spec.rollout.onNoSurgeCapacity",
                Reason.IGNORED,
                f"{spec.rollout.on_no_surge_capacity} is not built yet and behaves as Wait",
            )
        )
    if spec.rollout.surge_timeout_seconds != Rollout().surge_timeout_seconds:
        message = "has no effect yet: without devices every rollout waits, whatever onNoSurgeCapacity says"
        found.append(Advice("spec.rollout.surgeTimeoutSeconds", Reason.IGNORED, message))
    found += [advice for place, objective in enumerate(spec.objectives or ()) for advice in _edge(place, objective)]
    return tuple(found)


def _edge(place: int, objective: Objective) -> Iterator[Advice]:
    """What a threshold is judged at, where vLLM's histogram has no edge on it."""
    said, edge = objective.threshold_seconds, judged_edge_seconds(objective.metric, objective.threshold_seconds)
    if abs(edge - said) <= 1e-9 * said:
        return
    which = "the next stricter" if edge < said else "the smallest"
    above = next_edge_seconds(objective.metric, said)
    yield Advice(
        f"spec.objectives[{place}].thresholdMilliseconds",
        Reason.JUDGED_AT_ANOTHER_THRESHOLD,
        f"{1000 * said:g} ms is judged at {1000 * edge:g} ms, {which} latency that vLLM counts at",
        f"Choose {1000 * edge:g}" + (f" or {1000 * above:g}." if above is not None and edge < said else "."),
    )


def _says(override: Mapping[str, Any], path: str) -> bool:
    """Whether the variant itself says something at this path (`engine.vllm.maxModelLen`)."""
    node: Any = override
    for part in path.replace("[", ".[").split("."):
        if part.startswith("["):
            return isinstance(node, (list, tuple))
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def _class_names(spec: Mapping[str, Any]) -> set[str]:
    variants = spec.get("variants")
    if not isinstance(variants, list):
        return set()
    return {str(v.get("acceleratorClassName")) for v in variants if isinstance(v, Mapping)}


def _text(value: Object | Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
