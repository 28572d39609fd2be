"""InferenceDeployment: one served model, as the user writes it."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from inference_fleet.api.checkpoint import Checkpoint
from inference_fleet.api.model_base import ApiModel
from inference_fleet.api.names import MAXIMUM_VARIANT_NAME_LENGTH
from inference_fleet.api.objective import Objective, ShortName
from inference_fleet.api.pod_settings import LABEL_VALUE_PATTERN, MAXIMUM_METADATA, MetadataKey, PodSettings
from inference_fleet.api.schema_rules import ATOMIC_LIST, Rule, cel, list_map, obey, unique_by
from inference_fleet.api.vllm_engine import Engine, EngineOverride

MOST_REPLICAS = 1000
Replicas = Annotated[int, Field(ge=0, le=MOST_REPLICAS)]
# AcceleratorClass names are as short as a label's value; the definition of the kind says the same.
ClassName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
ModelName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]


class Drain(ApiModel):
    """How long a retiring pod may finish its requests. Part of the revision."""

    endpoint_delay_seconds: Annotated[int, Field(ge=0, le=300)] = Field(
        10, description="Wait between leaving the endpoints and the engine's SIGTERM, so that balancers have noticed."
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=7200)] = Field(
        600, description="How long running requests may take after that (vLLM's --shutdown-timeout)."
    )


_BOUNDS = Rule(
    "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
    "minReplicas must not exceed maxReplicas",
    lambda bounds: (
        bounds.min_replicas is None or bounds.max_replicas is None or bounds.min_replicas <= bounds.max_replicas
    ),
    field="minReplicas",
)


class Variant(ApiModel):
    """One way to carry the model: an accelerator class and what differs from the common settings."""

    rules: ClassVar = (_BOUNDS,)

    name: Annotated[
        str, Field(min_length=1, max_length=MAXIMUM_VARIANT_NAME_LENGTH, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    ] = Field(description="Name, unique in the list; part of the names of ReplicaSets and pods.")
    accelerator_class_name: ClassName = Field(description="AcceleratorClass that it runs on.")
    min_replicas: Replicas | None = Field(None, description="Fewest replicas of this variant; 0 if absent.")
    max_replicas: Replicas | None = Field(None, description="Most replicas of this variant; the total's if absent.")
    engine: EngineOverride | None = Field(None, description="Engine settings that differ, leaf by leaf.")
    pod: PodSettings | None = Field(None, description="Pod settings that differ, leaf by leaf.")
    model: Checkpoint | None = Field(
        None,
        description="Other weights of the same model (quantized, distilled, pruned); replaces the common ones whole.",
    )


class Schedule(ApiModel):
    """Other bounds at set times."""

    rules: ClassVar = (
        _BOUNDS,
        Rule(
            "has(self.minReplicas) || has(self.maxReplicas)",
            "a schedule needs minReplicas or maxReplicas",
            lambda schedule: schedule.min_replicas is not None or schedule.max_replicas is not None,
        ),
    )

    name: ShortName = Field(description="Name, unique in the list.")
    start: Annotated[str, Field(min_length=9, max_length=64, pattern=r"^[0-9*,/-]+( [0-9*,/-]+){4}$")] = Field(
        description='Five cron fields, numeric, such as "0 8 * * 1-5".'
    )
    time_zone: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")] | None = Field(
        None, description="IANA time zone; UTC if absent."
    )
    duration_seconds: Annotated[int, Field(ge=60, le=7 * 86400)] = Field(
        description="How long it holds from each start."
    )
    min_replicas: Replicas | None = Field(None, description="Fewest replicas meanwhile.")
    max_replicas: Replicas | None = Field(None, description="Most replicas meanwhile.")


class Scaling(ApiModel):
    """Who decides how many replicas, and within which bounds."""

    # The server judges the default {} before it has filled in the fields' own: so the rule asks for presence.
    rules: ClassVar = (
        _BOUNDS,
        Rule(
            "!has(self.schedules) || !has(self.minReplicas) || !has(self.maxReplicas) || self.schedules.all(s,"
            " has(s.minReplicas) && has(s.maxReplicas) ||"
            " (has(s.minReplicas) ? s.minReplicas : self.minReplicas) <="
            " (has(s.maxReplicas) ? s.maxReplicas : self.maxReplicas))",
            "a schedule's bound contradicts the other bound of scaling: set both in the schedule",
            lambda scaling: all(
                (s.min_replicas is not None and s.max_replicas is not None)
                or (scaling.min_replicas if s.min_replicas is None else s.min_replicas)
                <= (scaling.max_replicas if s.max_replicas is None else s.max_replicas)
                for s in scaling.schedules or ()
            ),
            field="schedules",
        ),
    )

    mode: Literal["Automatic", "Manual", "External"] = Field(
        "Automatic",
        description="Automatic: the operator, from latency and load. Manual: spec.replicas. External: /scale (an HPA).",
    )
    min_replicas: Replicas = Field(1, description="Fewest replicas, in Automatic; at least 1 for now.")
    max_replicas: Replicas = Field(1, description="Most replicas, in Automatic.")
    schedules: Annotated[tuple[Schedule, ...], Field(max_length=16), AfterValidator(unique_by("name"))] | None = Field(
        None, description="Other bounds at set times, in Automatic.", json_schema_extra=list_map("name")
    )


_SURGE = Rule(
    "type(self) == int ? self >= 1 && self <= 1000 : self.matches('^([1-9][0-9]?|100)%$')",
    "maxSurge is a number from 1 or a percentage such as 25%",
    lambda surge: (
        1 <= surge <= 1000 if isinstance(surge, int) else re.fullmatch(r"([1-9][0-9]?|100)%", surge) is not None
    ),
)


def _surge(value: int | str, info: ValidationInfo) -> int | str:
    obey(value, (_SURGE,), info)
    return value


class Rollout(ApiModel):
    """How a new revision replaces the old one."""

    rules: ClassVar = (
        Rule(
            "!has(self.minReadySeconds) || !has(self.progressDeadlineSeconds) ||"
            " self.minReadySeconds < self.progressDeadlineSeconds",
            "minReadySeconds must be less than progressDeadlineSeconds",
            lambda rollout: rollout.min_ready_seconds < rollout.progress_deadline_seconds,
            field="minReadySeconds",
        ),
    )

    paused: bool = Field(False, description="Leave revisions as they are; scaling goes on.")
    max_surge: Annotated[
        int | str,
        Field(json_schema_extra={"x-kubernetes-int-or-string": True, **cel(_SURGE)}),
        AfterValidator(_surge),
    ] = Field(
        1, description="How many pods beyond the needed ones may exist during a rollout: a number or a percentage."
    )
    on_no_surge_capacity: Literal["Wait", "UseSlack", "ReplaceInPlace"] = Field(
        "Wait",
        description="What to do when there are no devices for the new revision. For now every value behaves as Wait.",
    )
    surge_timeout_seconds: Annotated[int, Field(ge=30, le=86400)] = Field(
        900,
        description="How long to try to get devices before what onNoSurgeCapacity says is done. For now, as every value"
        " behaves as Wait, it has no effect.",
    )
    min_ready_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        60, description="How long a new pod must be ready before it counts."
    )
    progress_deadline_seconds: Annotated[int, Field(ge=60, le=86400)] = Field(
        3600, description="How long a new revision may take to become ready before it has failed; waiting excluded."
    )


class ServiceSettings(ApiModel):
    """The Service in front of the engines."""

    port: Annotated[int, Field(ge=1, le=65535)] = Field(8000, description="Port of the Service.")


class PeerSelector(ApiModel):
    """Clients chosen by labels."""

    match_labels: Annotated[
        dict[MetadataKey, Annotated[str, Field(max_length=63, pattern=LABEL_VALUE_PATTERN)]], Field(max_length=16)
    ] = Field(description="Labels that all must match; an empty map matches everything.")


class NetworkPolicyPeer(ApiModel):
    """Who may talk to the engines."""

    rules: ClassVar = (
        Rule(
            "has(self.namespaceSelector) || has(self.podSelector)",
            "a client needs namespaceSelector, podSelector or both",
            lambda peer: peer.namespace_selector is not None or peer.pod_selector is not None,
        ),
    )

    namespace_selector: PeerSelector | None = Field(None, description="Namespaces; the own one if absent.")
    pod_selector: PeerSelector | None = Field(None, description="Pods; all of the namespaces if absent.")


class NetworkPolicySettings(ApiModel):
    """A NetworkPolicy for the engines: ingress on the engine port from these clients only."""

    clients: Annotated[tuple[NetworkPolicyPeer, ...], Field(max_length=32)] = Field(
        description="Who may talk to the engines: gateways, and Prometheus.", json_schema_extra=ATOMIC_LIST
    )


class Routing(ApiModel):
    """How callers reach the engines."""

    service: ServiceSettings = Field(ServiceSettings(), description="The Service in front of the engines.")
    network_policy: NetworkPolicySettings | None = Field(None, description="Restrict who may talk to the engines.")


def _merged_map(part: str) -> Rule:
    """A map of the pods is merged key by key, so both together have to keep its bound."""

    def holds(spec: Any) -> bool:
        common = set(getattr(spec.pod, part, None) or ())
        own = (set(getattr(variant.pod, part, None) or ()) for variant in spec.variants)
        return all(len(common | keys) <= MAXIMUM_METADATA for keys in own)

    return Rule(
        f"!has(self.pod) || !has(self.pod.{part}) || self.variants.all(v, !has(v.pod) || !has(v.pod.{part}) ||"
        f" self.pod.{part}.size() + v.pod.{part}.filter(k, !(k in self.pod.{part})).size() <= {MAXIMUM_METADATA})",
        f"pod.{part} and a variant's have more than {MAXIMUM_METADATA} keys together",
        holds,
        field="variants",
    )


def _method(spec: Any, part: str) -> str | None:
    settings = getattr(spec.engine.vllm, part, None) if spec.engine.vllm else None
    return settings.method if settings else None


_SPEC_RULES = (
    Rule(
        "!has(self.servedModelNames) || self.servedModelNames.all(a, self.servedModelNames.exists_one(b, a == b))",
        "a name appears twice in servedModelNames",
        lambda spec: len(set(spec.served_model_names or ())) == len(spec.served_model_names or ()),
        field="servedModelNames",
    ),
    Rule(
        "!has(self.objectives) || !self.objectives.exists(a, self.objectives.exists(b, a.name != b.name &&"
        " a.metric == b.metric && a.thresholdMilliseconds == b.thresholdMilliseconds))",
        "two objectives have the same metric and threshold",
        lambda spec: (
            len({(o.metric, o.threshold_milliseconds) for o in spec.objectives or ()}) == len(spec.objectives or ())
        ),
        field="objectives",
    ),
    Rule(
        "has(self.engine.vllm) && has(self.engine.vllm.speculative) ?"
        " self.engine.vllm.speculative.method != 'none' : true",
        'speculative.method "none" only makes sense in a variant: leave speculative out',
        lambda spec: _method(spec, "speculative") != "none",
        field="engine.vllm.speculative.method",
    ),
    Rule(
        "has(self.engine.vllm) && has(self.engine.vllm.quantization) ?"
        " self.engine.vllm.quantization.method != 'none' : true",
        'quantization.method "none" only makes sense in a variant: leave quantization out',
        lambda spec: _method(spec, "quantization") != "none",
        field="engine.vllm.quantization.method",
    ),
    Rule(
        "!has(self.scaling) || !has(self.scaling.minReplicas) || self.scaling.mode != 'Automatic' ||"
        " self.variants.exists(v, !has(v.maxReplicas)) ||"
        " self.variants.map(v, has(v.maxReplicas) ? v.maxReplicas : 0).sum() >= self.scaling.minReplicas",
        "the variants' maxReplicas together are less than scaling.minReplicas",
        lambda spec: (
            spec.scaling.mode != "Automatic"
            or any(v.max_replicas is None for v in spec.variants)
            or sum(v.max_replicas or 0 for v in spec.variants) >= spec.scaling.min_replicas
        ),
        field="scaling.minReplicas",
    ),
    Rule(
        "!has(self.scaling) || !has(self.scaling.maxReplicas) || self.scaling.mode != 'Automatic' ||"
        " self.variants.map(v, has(v.minReplicas) ? v.minReplicas : 0).sum() <= self.scaling.maxReplicas",
        "the variants' minReplicas together exceed scaling.maxReplicas",
        lambda spec: (
            spec.scaling.mode != "Automatic"
            or sum(v.min_replicas or 0 for v in spec.variants) <= spec.scaling.max_replicas
        ),
        field="scaling.maxReplicas",
    ),
    _merged_map("labels"),
    _merged_map("annotations"),
)


class InferenceDeploymentSpec(ApiModel):
    """What the user wants."""

    rules: ClassVar = _SPEC_RULES

    served_model_names: Annotated[tuple[ModelName, ...], Field(min_length=1, max_length=16)] | None = Field(
        None,
        description="Model names that callers use; the object's name if absent. The first one labels metrics.",
        json_schema_extra=ATOMIC_LIST,
    )
    model: Checkpoint = Field(description="The weights.")
    engine: Engine = Field(description="The engine and its settings.")
    pod: PodSettings | None = Field(None, description="Settings of the pods.")
    drain: Drain = Field(Drain(), description="How pods that are removed finish their requests.")
    variants: Annotated[tuple[Variant, ...], Field(min_length=1, max_length=8), AfterValidator(unique_by("name"))] = (
        Field(description="Ways to serve the model, in order of preference.", json_schema_extra=list_map("name"))
    )
    objectives: Annotated[tuple[Objective, ...], Field(max_length=8), AfterValidator(unique_by("name"))] | None = Field(
        None,
        description="What callers were promised; absent: scaled on saturation.",
        json_schema_extra=list_map("name"),
    )
    replicas: Replicas | None = Field(
        None, description="Replicas in the modes Manual and External; reported as ignored in Automatic."
    )
    scaling: Scaling = Field(Scaling(), description="Who decides how many replicas.")
    rollout: Rollout = Field(Rollout(), description="How a new revision replaces the old one.")
    routing: Routing = Field(Routing(), description="How callers reach the engines.")
    suspend: bool = Field(
        False, description="Hands off this object: nothing of it is written until this is false again."
    )
