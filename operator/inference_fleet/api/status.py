"""The status of an InferenceDeployment: what the operator tells, and where it keeps what must survive a restart.

The models shape the CRD's schema. The operator writes plain objects; what no model knows is pruned by the server, so
every field that is written stands here. Bounds are far above what is written: a status may never be refused.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from inference_fleet.api.conditions import Condition
from inference_fleet.api.model_base import ApiModel
from inference_fleet.api.schema_rules import ATOMIC_LIST, PRESERVE_UNKNOWN, list_map

Text = Annotated[str, Field(max_length=32768)]
Word = Annotated[str, Field(max_length=512)]
Time = Annotated[str, Field(max_length=40)]
Count = int


class SignalStatus(ApiModel):
    """What is known of the load."""

    state: Word | None = Field(None, description="Fresh, Idle (nothing runs, nothing waits) or Unknown.")
    since: Time | None = Field(None, description="When it became so.")


class Term(ApiModel):
    """One number behind a decision."""

    name: Word | None = Field(None, description="What it is.")
    value: Word | None = Field(None, description="The number, as text.")
    unit: Word | None = Field(None, description="Its unit.")
    replicas: Count | None = Field(None, description="Replicas it asks for by itself.")
    sample_time: Time | None = Field(None, description="When it was measured.")


class DecisionSummary(ApiModel):
    """A change of the replica count."""

    time: Time | None = Field(None, description="When it was decided.")
    from_: Count | None = Field(None, alias="from", description="Replicas before.")
    to: Count | None = Field(None, description="Replicas wanted.")
    rule: Word | None = Field(
        None,
        description="The rule that decided: Forecast, Backlog, Hold, DownRate, Minimum, Maximum, Schedule,"
        " SignalsUnknown, Idle, Saturation, Manual or External.",
    )
    message: Text | None = Field(None, description="The decision in words.")


class LastDecision(DecisionSummary):
    """The last decision, with the numbers behind it."""

    limited_by: Annotated[tuple[Word, ...], Field(max_length=64)] | None = Field(
        None, description="Bounds that kept it from what was recommended.", json_schema_extra=ATOMIC_LIST
    )
    terms: Annotated[tuple[Term, ...], Field(max_length=256)] | None = Field(
        None, description="The numbers behind it.", json_schema_extra=ATOMIC_LIST
    )


class ScalingStatus(ApiModel):
    """How many replicas, and why."""

    mode: Word | None = Field(None, description="Automatic, Manual or External.")
    desired_replicas: Count | None = Field(None, description="Replicas wanted.")
    recommended_replicas: Count | None = Field(None, description="Replicas the scaler would want, whatever the mode.")
    proven_replicas: Count | None = Field(
        None, description="Replicas that have served at once since so many are wanted: fewer are a loss."
    )
    last_scale_up_time: Time | None = Field(None, description="When replicas were last added.")
    last_scale_down_time: Time | None = Field(None, description="When replicas were last taken away.")
    scale_down_allowed_after: Time | None = Field(None, description="Before this time no replica is taken away.")
    signals: SignalStatus | None = Field(None, description="What is known of the load.")
    last_decision: LastDecision | None = Field(None, description="The last decision.")
    history: Annotated[tuple[DecisionSummary, ...], Field(max_length=64)] | None = Field(
        None,
        description="The last ten changes of the count or of its variants, newest first.",
        json_schema_extra=ATOMIC_LIST,
    )


class ObjectiveStatus(ApiModel):
    """What of an objective was kept over its window, by the operator's own count."""

    name: Word = Field(description="Name of the objective.")
    window_hours: int | None = Field(None, description="The window that is counted, hours; 24 if absent.")
    attained_percent: Word | None = Field(None, description="Share of the requests that kept it, percent, as text.")
    error_budget_left_percent: int | None = Field(
        None, description="What is left of the misses it allows, percent of them; negative if there were more."
    )
    requests: int | None = Field(None, description="Requests that were judged.")
    since: Time | None = Field(None, description="When the first of them came, to a 24th of the window.")
    time: Time | None = Field(
        None, description="When it was counted: told anew where the budget left has moved by ten points."
    )


class Remark(ApiModel):
    """Something to know about a field of the spec."""

    path: Text | None = Field(None, description="The field.")
    variant: Word | None = Field(None, description="The variant; absent if the whole object is concerned.")
    reason: Word | None = Field(None, description="Why, from the documented list.")
    message: Text | None = Field(None, description="The fact.")
    suggestion: Text | None = Field(None, description="What would work.")


class PoolStatus(ApiModel):
    """The pods of one revision of a variant."""

    role: Word | None = Field(None, description="What its pods do; both: prompts and answers.")
    revision: Word | None = Field(None, description="Revision of its pods.")
    replicas: Count | None = Field(None, description="Pods wanted.")
    ready: Count | None = Field(None, description="Pods that serve.")
    starting: Count | None = Field(None, description="Pods on their way.")
    terminating: Count | None = Field(None, description="Pods that finish their requests.")
    unschedulable: Count | None = Field(None, description="Pods that wait for devices.")


class Resolved(ApiModel):
    """What the engine of a variant is started with."""

    image: Word | None = Field(None, description="Engine image.")
    version: Word | None = Field(None, description="vLLM release.")
    devices_per_replica: Count | None = Field(None, description="Devices of one replica.")
    max_model_len: Word | None = Field(
        None, description='Longest sequence, tokens; "auto" until the engine has reported it.'
    )
    max_num_seqs: Count | None = Field(None, description="Most sequences in one step.")
    max_num_batched_tokens: Count | None = Field(None, description="Most tokens in one step.")
    gpu_memory_utilization_percent: Count | None = Field(None, description="Share of the device's memory, percent.")
    kv_cache_tokens: Count | None = Field(None, description="Tokens the cache of running sequences holds.")
    shape_source: Word | None = Field(None, description="Where the model's shape is known from.")


class MemoryStatus(ApiModel):
    """Whether the model fits the devices."""

    verdict: Word | None = Field(None, description="Fits, Tight, Refused or Unknown.")
    device_bytes: int | None = Field(None, description="Memory of one device, bytes.")
    budget_bytes: int | None = Field(None, description="What the engine may use of it, bytes.")
    weights_bytes: int | None = Field(None, description="Weights on one device, bytes; an estimate.")
    draft_model_bytes: int | None = Field(None, description="A draft's weights on one device, bytes; an estimate.")
    activation_bytes: int | None = Field(None, description="What a step needs beside them, bytes; an estimate.")
    cuda_graph_bytes: int | None = Field(None, description="Captured graphs, bytes; an estimate.")
    runtime_bytes: int | None = Field(None, description="Driver and communication libraries, bytes; an estimate.")
    kv_cache_bytes: int | None = Field(None, description="Left of one device for sequences, bytes; an estimate.")
    kv_cache_tokens: int | None = Field(None, description="Tokens that one replica holds; an estimate.")
    message: Text | None = Field(None, description="The cheapest way to make it fit.")


class StartupStatus(ApiModel):
    """How long pods of a variant take from creation to readiness."""

    p50_seconds: Count | None = Field(None, description="Half of them take less, seconds.")
    p95_seconds: Count | None = Field(None, description="95 of 100 take less, seconds.")
    samples: Count | None = Field(None, description="Starts seen.")


_Conditions = Annotated[tuple[Condition, ...], Field(max_length=32)]
_Remarks = Annotated[tuple[Remark, ...], Field(max_length=64)]


class VariantStatus(ApiModel):
    """One variant."""

    name: Word = Field(description="Name of the variant.")
    conditions: _Conditions | None = Field(
        None, description="Accepted: whether the spec may use it, and why not.", json_schema_extra=list_map("type")
    )
    desired_replicas: Count | None = Field(None, description="Replicas wanted of it.")
    current_revision: Word | None = Field(None, description="Revision that serves.")
    update_revision: Word | None = Field(None, description="Revision of the accepted spec.")
    refusals: _Remarks | None = Field(None, description="Why it is not used.", json_schema_extra=ATOMIC_LIST)
    pools: Annotated[tuple[PoolStatus, ...], Field(max_length=64)] | None = Field(
        None, description="Its pods by revision.", json_schema_extra=ATOMIC_LIST
    )
    resolved: Resolved | None = Field(None, description="What its engine is started with.")
    memory: MemoryStatus | None = Field(None, description="Whether the model fits.")
    startup: StartupStatus | None = Field(None, description="How long its pods take to start.")


class FailedRevision(ApiModel):
    """A revision that is not tried again until the spec changes."""

    variant: Word | None = Field(None, description="Its variant.")
    revision: Word | None = Field(None, description="The revision.")
    reason: Word | None = Field(None, description="Why it failed.")
    message: Text | None = Field(None, description="Why, for people.")
    time: Time | None = Field(None, description="When it was given up.")


class RolloutStatus(ApiModel):
    """How far the newest revision has got."""

    completed_revision: Word | None = Field(None, description="Accepted spec whose rollout was last completed.")
    target_revision: Word | None = Field(None, description="Accepted spec that is being rolled out. Not written yet.")
    state: Word | None = Field(None, description="Progressing, Waiting, Paused, Failed or Completed. Not written yet.")
    message: Text | None = Field(None, description="How far it is. Not written yet.")
    started_at: Time | None = Field(None, description="When it began. Not written yet.")
    waiting_since: Time | None = Field(None, description="Since when it waits for devices. Not written yet.")
    failed_revisions: Annotated[tuple[FailedRevision, ...], Field(max_length=64)] | None = Field(
        None, description="Revisions given up. Not written yet.", json_schema_extra=ATOMIC_LIST
    )


class EndpointStatus(ApiModel):
    """Where callers find the model."""

    url: Text | None = Field(None, description="Address inside the cluster.")


class CostStatus(ApiModel):
    """What the pods that exist cost; absent if a class has no price."""

    per_hour: Word | None = Field(None, description="Price of one hour, a decimal string.")
    currency: Word | None = Field(None, description="ISO 4217 code.")


class Summary(ApiModel):
    """What `kubectl get` shows."""

    model: Word | None = Field(None, description="Short name of the weights.")
    replicas: Word | None = Field(None, description="Ready and wanted replicas, as in 5/6.")
    devices: Count | None = Field(None, description="Devices held by the pods.")
    version: Word | None = Field(None, description="vLLM release.")
    quantization: Word | None = Field(None, description="How the weights are quantized.")


class UpdateAvailable(ApiModel):
    """A newer operator or class would render the pods differently."""

    id: Word | None = Field(None, description="Value for the annotation inferencefleet.io/apply-update.")
    message: Text | None = Field(None, description="What would change.")


class InferenceDeploymentStatus(ApiModel):
    """What the operator tells."""

    observed_generation: int | None = Field(None, description="Generation of the spec this speaks of.")
    conditions: _Conditions | None = Field(None, description="Conditions.", json_schema_extra=list_map("type"))
    accepted_revision: Word | None = Field(None, description="ControllerRevision of the spec that is being served.")
    replicas: Count | None = Field(None, description="Pods that exist.")
    ready_replicas: Count | None = Field(None, description="Pods that serve.")
    selector: Word | None = Field(None, description="Label selector of the pods, for /scale.")
    summary: Summary | None = Field(None, description="What `kubectl get` shows.")
    warnings: _Remarks | None = Field(
        None, description="Things accepted that are worth knowing.", json_schema_extra=ATOMIC_LIST
    )
    update_available: UpdateAvailable | None = Field(None, description="A newer rendering of the pods.")
    scaling: ScalingStatus | None = Field(None, description="How many replicas, and why.")
    objectives: Annotated[tuple[ObjectiveStatus, ...], Field(max_length=64)] | None = Field(
        None, description="What was kept of the objectives.", json_schema_extra=list_map("name")
    )
    variants: Annotated[tuple[VariantStatus, ...], Field(max_length=64)] | None = Field(
        None, description="The variants.", json_schema_extra=list_map("name")
    )
    rollout: RolloutStatus | None = Field(None, description="How far the newest revision has got.")
    endpoint: EndpointStatus | None = Field(None, description="Where callers find the model.")
    cost: CostStatus | None = Field(None, description="What the pods that exist cost.")
    bookkeeping: Annotated[dict[str, Any], Field(max_length=64)] | None = Field(
        None,
        description="Timers and back-offs that must survive a restart. Not an interface. Not written yet.",
        json_schema_extra=PRESERVE_UNKNOWN,
    )
