"""What a user may say about pods: a closed list, never a pod template."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from inference_fleet.api import quantity
from inference_fleet.api.checkpoint import SUBDOMAIN, LocalReference, Name, SecretKeyReference
from inference_fleet.api.model_base import ApiModel
from inference_fleet.api.quantity import parse_quantity
from inference_fleet.api.schema_rules import Rule, cel, list_map, obey, unique_by

QuantityText = Annotated[str, Field(min_length=1, max_length=32, pattern=quantity.PATTERN)]
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
# A qualified name with a prefix; ours and those that tools use to tell whose an object is may not be set.
MetadataKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=f"^({SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$",
    ),
]
# Labels or annotations of a pod that a user may set.
MAXIMUM_METADATA = 16
_FOREIGN_BEGINNINGS = ("inferencefleet.io/", "argocd.argoproj.io/")
_FOREIGN_PARTS = ("kubernetes.io/", "toolkit.fluxcd.io/")
_UNRESERVED = Rule(
    "self.all(k, !k.startsWith('inferencefleet.io/') && !k.contains('kubernetes.io/')"
    " && !k.startsWith('argocd.argoproj.io/') && !k.contains('toolkit.fluxcd.io/'))",
    "keys of inferencefleet.io, kubernetes.io, Argo CD and Flux are not allowed here",
    lambda keys: (
        not any(key.startswith(_FOREIGN_BEGINNINGS) or any(part in key for part in _FOREIGN_PARTS) for key in keys)
    ),
)


def _unreserved(value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    obey(value, (_UNRESERVED,), info)
    return value


# What an engine reads of its environment and that cannot undo what we check; a star stands for further capitals.
ALLOWED_ENVIRONMENT = (
    "AWS_CA_BUNDLE",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "CUDA_DEVICE_ORDER",
    "HF_ENDPOINT",
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "HF_HUB_ENABLE_HF_TRANSFER",
    "HF_HUB_ETAG_TIMEOUT",
    "HF_XET_HIGH_PERFORMANCE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "INFERENCE_FLEET_EMULATOR_*",
    "NCCL_*",
    "NO_PROXY",
    "OMP_NUM_THREADS",
    "PYTORCH_CUDA_ALLOC_CONF",
    "REQUESTS_CA_BUNDLE",
    "RUNAI_STREAMER_CONCURRENCY",
    "RUNAI_STREAMER_MEMORY_LIMIT",
    "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING",
    "SSL_CERT_FILE",
    "TZ",
    "VLLM_API_KEY",
    "VLLM_CPU_KVCACHE_SPACE",
    "VLLM_CPU_OMP_THREADS_BIND",
    "VLLM_ENABLE_STARTUP_PLAN",
    "VLLM_ENGINE_READY_TIMEOUT_S",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE",
    "VLLM_LOGGING_LEVEL",
    "VLLM_MAX_N_SEQUENCES",
    "VLLM_USE_DEEP_GEMM",
    "VLLM_USE_FLASHINFER_SAMPLER",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
ENV_PATTERN = "^(" + "|".join(name.replace("*", "[A-Z0-9_]+") for name in ALLOWED_ENVIRONMENT) + ")$"


class ResourceAmounts(ApiModel):
    """CPU, memory and scratch space. Devices come from the accelerator class."""

    cpu: QuantityText | None = Field(None, description="Processor cores.")
    memory: QuantityText | None = Field(None, description="Main memory.")
    ephemeral_storage: QuantityText | None = Field(None, description="Scratch space on the node.")


def _within_limit(attribute: str) -> Callable[[Any], bool]:
    def holds(resources: Any) -> bool:
        requested, limit = getattr(resources.requests, attribute, None), getattr(resources.limits, attribute, None)
        return requested is None or limit is None or parse_quantity(requested) <= parse_quantity(limit)

    return holds


class Resources(ApiModel):
    """Requests and limits of the engine's container."""

    rules: ClassVar = tuple(
        Rule(
            f"!has(self.requests) || !has(self.limits) || !has(self.requests.{name}) || !has(self.limits.{name}) ||"
            f" quantity(self.requests.{name}).compareTo(quantity(self.limits.{name})) <= 0",
            f"requests.{name} must not exceed limits.{name}",
            _within_limit(attribute),
        )
        for name, attribute in (
            ("cpu", "cpu"),
            ("memory", "memory"),
            ("ephemeralStorage", "ephemeral_storage"),
        )
    )

    requests: ResourceAmounts | None = Field(None, description="What the scheduler keeps free for it.")
    limits: ResourceAmounts | None = Field(None, description="What it may use at most.")


class EnvVar(ApiModel):
    """One environment variable with an allowed name."""

    rules: ClassVar = (
        Rule(
            "has(self.value) != has(self.secretKeyRef)",
            "exactly one of value and secretKeyRef must be set",
            lambda variable: (variable.value is None) != (variable.secret_key_ref is None),
        ),
    )

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=ENV_PATTERN)] = Field(
        description="Name. Only the names of the API reference (Environment variables) are allowed."
    )
    value: Annotated[str, Field(max_length=2048)] | None = Field(None, description="Value.")
    secret_key_ref: SecretKeyReference | None = Field(None, description="Value from a Secret.")


class TopologySpread(ApiModel):
    """Spread the replicas over nodes or zones."""

    topology_key: MetadataKey = Field(description="Node label whose values are the domains.")
    max_skew: Annotated[int, Field(ge=1, le=100)] | None = Field(None, description="Largest difference; 1 if absent.")
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] | None = Field(
        None, description="ScheduleAnyway if absent."
    )


class SharedMemory(ApiModel):
    """The shared memory (/dev/shm) that engines with several processes need."""

    size_limit: QuantityText = Field(description="Upper bound; counts as memory of the pod.")


class PodSettings(ApiModel):
    """What may be said about the pods."""

    resources: Resources | None = Field(None, description="CPU and memory.")
    image_pull_secrets: (
        Annotated[tuple[LocalReference, ...], Field(max_length=8), AfterValidator(unique_by("name"))] | None
    ) = Field(None, description="Secrets for private registries.", json_schema_extra=list_map("name"))
    env: Annotated[tuple[EnvVar, ...], Field(max_length=32), AfterValidator(unique_by("name"))] | None = Field(
        None, description="Environment variables with allowed names.", json_schema_extra=list_map("name")
    )
    labels: (
        Annotated[
            dict[MetadataKey, Annotated[str, Field(max_length=63, pattern=LABEL_VALUE_PATTERN)]],
            Field(max_length=MAXIMUM_METADATA),
            AfterValidator(_unreserved),
        ]
        | None
    ) = Field(
        None,
        description="Labels for the pods. Prefixes of the operator, of Kubernetes and of GitOps tools are not allowed.",
        json_schema_extra=cel(_UNRESERVED),
    )
    annotations: (
        Annotated[
            dict[MetadataKey, Annotated[str, Field(max_length=1024)]],
            Field(max_length=MAXIMUM_METADATA),
            AfterValidator(_unreserved),
        ]
        | None
    ) = Field(
        None,
        description="Annotations for the pods, with the same exceptions as labels.",
        json_schema_extra=cel(_UNRESERVED),
    )
    priority_class_name: Name | None = Field(None, description="PriorityClass of the pods.")
    topology_spread: (
        Annotated[tuple[TopologySpread, ...], Field(max_length=4), AfterValidator(unique_by("topology_key"))] | None
    ) = Field(None, description="Spread the replicas.", json_schema_extra=list_map("topologyKey"))
    shared_memory: SharedMemory | None = Field(None, description="Shared memory of the engine (/dev/shm).")
