"""AcceleratorClass: the platform team's catalogue entry for one kind of device."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from inference_fleet.api.model_base import ApiModel
from inference_fleet.api.pod_settings import LABEL_VALUE_PATTERN, MetadataKey, QuantityText
from inference_fleet.api.quantity import parse_quantity
from inference_fleet.api.schema_rules import ATOMIC_LIST, SET_LIST, Rule

LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE_PATTERN)]
DecimalText = Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?$")]


class Devices(ApiModel):
    """How a pod asks for devices. A union with one member for now."""

    extended_resource: (
        Annotated[
            str,
            Field(
                min_length=3,
                max_length=128,
                pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
            ),
        ]
        | None
    ) = Field(None, description="Extended resource, such as nvidia.com/gpu or a MIG profile's.")


class Toleration(ApiModel):
    """A toleration of the engine's pods."""

    rules: ClassVar = (
        Rule(
            "has(self.key) || has(self.operator) && self.operator == 'Exists'",
            "a toleration without key needs operator Exists",
            lambda t: t.key is not None or t.operator == "Exists",
            field="operator",
        ),
        Rule(
            "!has(self.value) || self.value == '' || !has(self.operator) || self.operator == 'Equal'",
            "a toleration with operator Exists takes no value",
            lambda t: not t.value or t.operator in (None, "Equal"),
            field="value",
        ),
        Rule(
            "!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",
            "tolerationSeconds needs effect NoExecute",
            lambda t: t.toleration_seconds is None or t.effect == "NoExecute",
            field="tolerationSeconds",
        ),
    )

    key: MetadataKey | None = Field(None, description="Taint key; all keys if absent (operator Exists).")
    operator: Literal["Exists", "Equal"] | None = Field(None, description="Equal if absent.")
    value: LabelValue | None = Field(None, description="Taint value, with operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(None, description="All if absent.")
    toleration_seconds: Annotated[int, Field(ge=0, le=86400)] | None = Field(
        None, description="How long a NoExecute taint is tolerated."
    )


class Cost(ApiModel):
    """What a device costs. Used to choose and to report; never part of a revision."""

    per_device_hour: DecimalText = Field(description="Price of one device for one hour, as a decimal string.")
    currency: Annotated[str, Field(min_length=3, max_length=3, pattern=r"^[A-Z]{3}$")] = Field(
        "USD", description="ISO 4217 code."
    )


class Performance(ApiModel):
    """Published figures of the device: what the scaler and the estimate of `plan` are to begin with."""

    memory_bandwidth_gigabytes_per_second: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Memory bandwidth."
    )
    dense_teraflops: (
        Annotated[
            dict[Annotated[str, Field(max_length=16)], Annotated[int, Field(ge=1, le=1_000_000)]], Field(max_length=12)
        ]
        | None
    ) = Field(None, description="Dense peak by type (bfloat16, float16, fp8, int8, ...).")


class LabelSelector(ApiModel):
    """Objects chosen by their labels (matchLabels only)."""

    match_labels: Annotated[dict[MetadataKey, LabelValue], Field(max_length=16)] | None = Field(
        None, description="Labels that all must match; an empty map matches everything."
    )


_RULES = (
    Rule(
        "self.platform == 'CPU' ? !has(self.devices) : has(self.devices)",
        "devices must be set on every platform but CPU",
        lambda spec: (spec.platform == "CPU") == (spec.devices is None),
        field="devices",
    ),
    Rule(
        "!has(self.devices) || has(self.devices.extendedResource)",
        "devices needs exactly one member: extendedResource",
        lambda spec: spec.devices is None or spec.devices.extended_resource is not None,
        field="devices",
    ),
    Rule(
        "self.platform != 'CUDA' || self.architecture.matches('^[0-9]{1,2}[.][0-9]$')",
        "architecture on CUDA is the compute capability, such as 9.0",
        lambda spec: spec.platform != "CUDA" or re.fullmatch(r"[0-9]{1,2}[.][0-9]", spec.architecture) is not None,
        field="architecture",
    ),
    Rule(
        "self.platform != 'ROCm' || self.architecture.startsWith('gfx')",
        "architecture on ROCm is the LLVM target, such as gfx942",
        lambda spec: spec.platform != "ROCm" or spec.architecture.startswith("gfx"),
        field="architecture",
    ),
    Rule(
        "quantity(self.deviceMemory).compareTo(quantity('1Mi')) >= 0",
        "deviceMemory must be at least 1Mi: it is a quantity of bytes, such as 81079Mi",
        lambda spec: parse_quantity(spec.device_memory) >= parse_quantity("1Mi"),
        field="deviceMemory",
    ),
)


class AcceleratorClassSpec(ApiModel):
    """One kind of device: facts, where its nodes are, what it costs."""

    rules: ClassVar = _RULES

    platform: Literal["CUDA", "ROCm", "XPU", "CPU"] = Field(description="Which build of the engine runs on it.")
    architecture: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Compute capability on CUDA (9.0), LLVM target on ROCm (gfx942)."
    )
    device_memory: QuantityText = Field(description="Memory of one device as the driver reports it, such as 81079Mi.")
    devices_per_node: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="Devices in one node of this class.")
    devices: Devices | None = Field(None, description="How a pod asks for devices; absent on CPU.")
    node_selector: Annotated[dict[MetadataKey, LabelValue], Field(max_length=16)] | None = Field(
        None, description="Labels of the nodes that have it."
    )
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] | None = Field(
        None, description="Taints of these nodes that the pods tolerate.", json_schema_extra=ATOMIC_LIST
    )
    cost: Cost | None = Field(None, description="What a device costs.")
    performance: Performance | None = Field(
        None, description="Published figures of the device: what estimates of speed start from."
    )
    namespace_selector: LabelSelector | None = Field(
        None, description="Namespaces whose InferenceDeployments may use the class; absent: all."
    )
    accepted_risks: (
        Annotated[
            tuple[Annotated[str, Field(min_length=3, max_length=64, pattern=r"^[A-Za-z0-9-]+$")], ...],
            Field(max_length=64),
        ]
        | None
    ) = Field(
        None,
        description="Advisories (CVE-..., PYSEC-...) the platform team accepts for pods on this class: a release with"
        " one starts with a warning instead of being refused.",
        json_schema_extra=SET_LIST,
    )

    @property
    def device_memory_bytes(self) -> int:
        """Memory of one device, bytes."""
        return int(parse_quantity(self.device_memory))

    @property
    def cost_per_device_hour(self) -> Decimal | None:
        """Price of one device for one hour, in `cost.currency`."""
        return Decimal(self.cost.per_device_hour) if self.cost else None
