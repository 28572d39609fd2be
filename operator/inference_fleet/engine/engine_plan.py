"""What checking a variant against a vLLM version and an accelerator comes to: a command line, or refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.step_time import StepTimeModel

# Where a pod finds things: the command line names these paths, the pod template mounts them.
WEIGHTS_MOUNT: Final = "/models/target"
DRAFT_WEIGHTS_MOUNT: Final = "/models/draft"
CACHE_MOUNT: Final = "/cache"

MemoryVerdict = Literal["Fits", "Tight", "Refused", "Unknown"]
Bound = Literal["Bandwidth", "Compute", "KVCapacity"]
ESTIMATE_PROMPT_TOKENS: Final = 1000
ShapeSource = Literal["spec", "catalogue", "config", "unknown"]


@dataclass(frozen=True, kw_only=True)
class EffectiveLimits:
    """The four limits as they are passed, in tokens, sequences and percent. max_model_len None: `auto`."""

    max_model_len: int | None
    max_num_seqs: int
    max_num_batched_tokens: int
    gpu_memory_utilization_percent: int


@dataclass(frozen=True, kw_only=True)
class MemoryReport:
    """Device memory of one device of a replica, in bytes. None: not known.

    runtime_bytes: driver and communication libraries. kv_bytes_per_token: the average over a sequence of the longest
    length. Of the whole replica: kv_cache_tokens, as vLLM counts them, and how many of the longest sequences they are.
    """

    verdict: MemoryVerdict
    device_bytes: int | None = None
    budget_bytes: int | None = None
    weights_bytes: int | None = None
    activation_bytes: int | None = None
    cuda_graph_bytes: int | None = None
    runtime_bytes: int | None = None
    lora_bytes: int | None = None
    draft_model_bytes: int | None = None
    kv_cache_bytes: int | None = None
    kv_bytes_per_token: int | None = None
    kv_cache_tokens: int | None = None
    concurrency_at_max_model_len: float | None = None
    largest_max_model_len: int | None = None
    cheapest_fix: str | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How fast, roughly, before anything was measured. Times in seconds; tokens per second of one replica.

    time_to_first_token: of `ESTIMATE_PROMPT_TOKENS`, alone. full: as many sequences as the settings and the cache allow
    (`full_sequences`), all decoding. error_percent: how far published measurements were off this formula, either way.
    accepted_to_pay: of `speculative_tokens` guesses so many must come true in a step, on average, to be worth it.
    """

    bound_by: Bound
    time_to_first_token_seconds: float
    inter_token_latency_at_one_seconds: float
    inter_token_latency_at_full_seconds: float
    tokens_per_second_at_one: float
    tokens_per_second_at_full: float
    full_sequences: int
    error_percent: int
    speculative_tokens: int
    accepted_to_pay_at_one: float
    accepted_to_pay_at_full: float


@dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """How one replica of a variant is started.

    command and args: argument lists, never a shell line; command is empty where the image's entrypoint starts the
    engine. env: names and plain values. logging: the text of the file that it takes its logging from, None for its own
    way. kv_cache_tokens: capacity of one replica, None if not known before it runs;
    estimate: None without the device's figures or the model's size.
    """

    version: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    devices_per_replica: int
    effective: EffectiveLimits
    shape_source: ShapeSource
    memory: MemoryReport
    step_time: StepTimeModel
    kv_cache_tokens: int | None
    estimate: Estimate | None = None
    logging: str | None = None


@dataclass(frozen=True, kw_only=True)
class EngineResult:
    """The plan if nothing is refused; warnings in either case. Paths are relative to the variant's merged intent.

    memory: the numbers behind a refusal by them; those of a plan are its own.
    """

    refusals: tuple[Refusal, ...]
    warnings: tuple[Advice, ...]
    plan: EnginePlan | None
    memory: MemoryReport | None = None
