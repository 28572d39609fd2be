"""Conditions and the one enum of reasons, each with its meaning and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from inference_fleet.api.model_base import ApiModel


class ConditionType(StrEnum):
    """The conditions of an InferenceDeployment."""

    ACCEPTED = "Accepted"
    AVAILABLE = "Available"
    READY = "Ready"
    SCALING_ACTIVE = "ScalingActive"
    ROLLED_OUT = "RolledOut"
    CAPACITY_AVAILABLE = "CapacityAvailable"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SCALING_LIMITED = "ScalingLimited"
    SUSPENDED = "Suspended"
    UPDATE_AVAILABLE = "UpdateAvailable"


CONDITION_MEANINGS: dict[ConditionType, str] = {
    ConditionType.ACCEPTED: "The spec makes sense for this vLLM version and these accelerators.",
    ConditionType.AVAILABLE: "The capacity that is needed serves, whatever its revision. For alerts.",
    ConditionType.READY: "The spec is accepted, rolled out and serving. For GitOps.",
    ConditionType.SCALING_ACTIVE: "Replicas follow the mode: signals are known in Automatic.",
    ConditionType.ROLLED_OUT: "All replicas run the accepted revision.",
    ConditionType.CAPACITY_AVAILABLE: "No replica waits for devices.",
    ConditionType.RECONCILING: "Only when true: something is under way.",
    ConditionType.STALLED: "Only when true: no progress without a change of the spec.",
    ConditionType.SCALING_LIMITED: "Only when true: a bound keeps the replicas from what the scaler recommends.",
    ConditionType.SUSPENDED: "Only when true: spec.suspend is set, nothing is written.",
    ConditionType.UPDATE_AVAILABLE: "Only when true: pods would be rendered differently now (status.updateAvailable).",
}

ALWAYS_PRESENT = (
    ConditionType.ACCEPTED,
    ConditionType.AVAILABLE,
    ConditionType.READY,
    ConditionType.SCALING_ACTIVE,
    ConditionType.ROLLED_OUT,
    ConditionType.CAPACITY_AVAILABLE,
)


class Reason(StrEnum):
    """Every reason that a condition, a refusal, a warning or an event of ours can carry."""

    # a spec that is not accepted
    INVALID_SPEC = "InvalidSpec"
    NOT_SUPPORTED_YET = "NotSupportedYet"
    ACCELERATOR_CLASS_NOT_FOUND = "AcceleratorClassNotFound"
    ACCELERATOR_CLASS_INVALID = "AcceleratorClassInvalid"
    ACCELERATOR_CLASS_NOT_ALLOWED = "AcceleratorClassNotAllowed"
    UNKNOWN_VERSION = "UnknownVersion"
    VERSION_NOT_REVIEWED = "VersionNotReviewed"
    UNSUPPORTED_SETTING = "UnsupportedSetting"
    UNSUPPORTED_ON_ACCELERATOR = "UnsupportedOnAccelerator"
    CONFLICTING_SETTINGS = "ConflictingSettings"
    OUT_OF_RANGE = "OutOfRange"
    FLAG_NOT_ALLOWED = "FlagNotAllowed"
    TOO_MANY_DEVICES = "TooManyDevices"
    DOES_NOT_FIT = "DoesNotFit"
    KNOWN_FAULT = "KnownFault"
    # advice
    SHAPE_UNKNOWN = "ShapeUnknown"
    LENGTH_UNKNOWN = "LengthUnknown"
    TIGHT_MEMORY = "TightMemory"
    MAY_COST_THROUGHPUT = "MayCostThroughput"
    SAVES_MEMORY_ONLY = "SavesMemoryOnly"
    DEPRECATED = "Deprecated"
    IGNORED = "Ignored"
    JUDGED_AT_ANOTHER_THRESHOLD = "JudgedAtAnotherThreshold"
    # conditions
    ACCEPTED = "Accepted"
    SOME_VARIANTS_REFUSED = "SomeVariantsRefused"
    SPEC_NOT_ACCEPTED = "SpecNotAccepted"
    SERVING = "Serving"
    STARTING = "Starting"
    NOT_ENOUGH_REPLICAS = "NotEnoughReplicas"
    WAITING_FOR_DEVICES = "WaitingForDevices"
    QUOTA_EXCEEDED = "QuotaExceeded"
    SCALED_TO_ZERO = "ScaledToZero"
    ROLLING_OUT = "RollingOut"
    ROLLED_OUT = "RolledOut"
    ROLLOUT_PAUSED = "RolloutPaused"
    ROLLOUT_FAILED = "RolloutFailed"
    SIGNALS_FRESH = "SignalsFresh"
    SIGNALS_IDLE = "SignalsIdle"
    SIGNALS_UNKNOWN = "SignalsUnknown"
    MANUAL = "Manual"
    EXTERNAL = "External"
    DEVICES_AVAILABLE = "DevicesAvailable"
    MAXIMUM = "Maximum"
    MINIMUM = "Minimum"
    SCHEDULE = "Schedule"
    OBJECTIVE_UNREACHABLE = "ObjectiveUnreachable"
    SUSPENDED = "Suspended"
    RENDERING_CHANGED = "RenderingChanged"
    # why a pod does not start
    OUT_OF_DEVICE_MEMORY = "OutOfDeviceMemory"
    UNSUPPORTED_FLAG = "UnsupportedFlag"
    OUT_OF_HOST_MEMORY = "OutOfHostMemory"
    SETTING_REFUSED_BY_ENGINE = "SettingRefusedByEngine"
    UNSUPPORTED_MODEL = "UnsupportedModel"
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_GATED = "ModelGated"
    MODEL_DAMAGED = "ModelDamaged"
    TOKEN_REFUSED = "TokenRefused"  # noqa: S105  (a reason, no token)
    HUB_THROTTLED = "HubThrottled"
    HUB_UNREACHABLE = "HubUnreachable"
    NO_SPACE = "NoSpace"
    NO_DEVICE = "NoDevice"
    NODE_FAULT = "NodeFault"
    REFUSED_BY_NODE = "RefusedByNode"
    POD_LOST = "PodLost"
    IMAGE_NOT_AVAILABLE = "ImageNotAvailable"
    CONFIGURATION_MISSING = "ConfigurationMissing"
    ENGINE_CRASHED = "EngineCrashed"
    START_TOO_SLOW = "StartTooSlow"
    LOADING = "Loading"
    # events
    CREATED = "Created"
    SCALED = "Scaled"
    DELETED = "Deleted"
    SCALER_MEMORY_DAMAGED = "ScalerMemoryDamaged"
    NAME_TAKEN = "NameTaken"
    WRITE_REFUSED = "WriteRefused"


class Condition(ApiModel):
    """One condition, as Kubernetes' API conventions have it."""

    type: str = Field(description="Name of the condition.", max_length=64)
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="Why, from the documented list.", max_length=64)
    message: str = Field("", description="Why, for people.", max_length=32768)
    observed_generation: int = Field(0, description="Generation of the spec this speaks of.", ge=0)
    last_transition_time: str = Field(description="When the status last changed.", max_length=32)


def timestamp(now: float) -> str:
    """Unix seconds as Kubernetes writes times: `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(int(now), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def set_condition(conditions: Iterable[Condition], new: Condition, *, now: float) -> tuple[Condition, ...]:
    """The conditions with the new one in its place; its transition time moves only when its status flips."""
    result = []
    placed = False
    for old in conditions:
        if old.type != new.type:
            result.append(old)
            continue
        since = old.last_transition_time if old.status == new.status else timestamp(now)
        result.append(new.model_copy(update={"last_transition_time": since}))
        placed = True
    if not placed:
        result.append(new.model_copy(update={"last_transition_time": timestamp(now)}))
    return tuple(result)
