"""What a user may say about vLLM. Names are vLLM's flag names in camelCase; None means: not said.

Vocabulary that changes with vLLM's releases (methods, types, policies) is a bounded string here and checked against
the release's data by `engine`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from inference_fleet.api.checkpoint import Checkpoint
from inference_fleet.api.model_base import ApiModel
from inference_fleet.api.schema_rules import ATOMIC_LIST, cel, exactly_one_of, rule

Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Version = Annotated[str, Field(min_length=5, max_length=32, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")]
Tokens = Annotated[int, Field(ge=1, le=100_000_000)]


class Quantization(ApiModel):
    """How weights are quantized."""

    method: Word = Field(
        description='vLLM\'s --quantization: fp8_per_tensor, compressed-tensors, awq, ... "none" undoes a common one'
        " in a variant. A checkpoint that is quantized already needs no method."
    )


class KvCache(ApiModel):
    """The memory of running sequences."""

    kv_cache_dtype: Word | None = Field(None, description="vLLM's --kv-cache-dtype, such as fp8.")
    gpu_memory_utilization_percent: Annotated[int, Field(ge=10, le=99)] | None = Field(
        None, description="Share of the device's memory the engine may use, percent (vLLM's --gpu-memory-utilization)."
    )
    enable_prefix_caching: bool | None = Field(None, description="Reuse the cache of equal prompt beginnings.")
    block_size: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="Tokens per cache block.")


_BATCHING_RULES = cel(
    rule(
        "!has(self.maxNumBatchedTokens) || !has(self.maxNumSeqs) || self.maxNumBatchedTokens >= self.maxNumSeqs",
        "maxNumBatchedTokens must be at least maxNumSeqs: every running sequence takes one token of a step",
    ),
    rule(
        "!has(self.maxNumActiveSeqs) || !has(self.maxNumSeqs) || self.maxNumActiveSeqs <= self.maxNumSeqs",
        "maxNumActiveSeqs must not exceed maxNumSeqs",
    ),
)


class Batching(ApiModel):
    """How requests are put together into steps."""

    model_config = ConfigDict(json_schema_extra=_BATCHING_RULES)

    max_num_seqs: Annotated[int, Field(ge=1, le=65536)] | None = Field(None, description="Most sequences in one step.")
    max_num_active_seqs: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        None, description="Most sequences admitted at a time."
    )
    max_num_batched_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        None, description="Most tokens in one step."
    )
    enable_chunked_prefill: bool | None = Field(None, description="Let long prompts share steps with decoding.")
    long_prefill_token_threshold: Annotated[int, Field(ge=0, le=10_000_000)] | None = Field(
        None, description="Prompts longer than this count as long, tokens."
    )
    max_num_queued_reqs: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Requests that may wait in one engine; more are answered with 503."
    )
    max_num_queued_tokens: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        None, description="Prompt tokens that may wait in one engine; more are answered with 503."
    )
    scheduling_policy: Word | None = Field(None, description="fcfs or priority.")
    async_scheduling: bool | None = Field(None, description="Prepare the next step while the present one runs.")


class DepthByBatchSize(ApiModel):
    """Speculation depth for a range of batch sizes."""

    model_config = ConfigDict(
        json_schema_extra=cel(rule("self.minSeqs <= self.maxSeqs", "minSeqs must not exceed maxSeqs"))
    )

    min_seqs: Annotated[int, Field(ge=1, le=65536)] = Field(description="Smallest batch of the range, sequences.")
    max_seqs: Annotated[int, Field(ge=1, le=65536)] = Field(description="Largest batch of the range, sequences.")
    num_speculative_tokens: Annotated[int, Field(ge=0, le=64)] = Field(description="Depth; 0 turns speculation off.")


_SPECULATIVE_RULES = cel(
    rule(
        "!(self.method in ['draft_model', 'eagle', 'eagle3', 'dflash', 'dspark']) || has(self.model)",
        "this speculative method needs a draft: set speculative.model",
    ),
    rule(
        "!(self.method in ['ngram', 'ngram_gpu', 'suffix']) || !has(self.model)",
        "this speculative method takes no draft model: leave speculative.model out",
    ),
    rule(
        "!has(self.promptLookupMin) || !has(self.promptLookupMax) || self.promptLookupMin <= self.promptLookupMax",
        "promptLookupMin must not exceed promptLookupMax",
    ),
    rule(
        "!(has(self.promptLookupMin) || has(self.promptLookupMax)) || self.method in ['ngram', 'ngram_gpu']",
        "promptLookupMin and promptLookupMax belong to the methods ngram and ngram_gpu",
    ),
)


class Speculative(ApiModel):
    """Speculative decoding."""

    model_config = ConfigDict(json_schema_extra=_SPECULATIVE_RULES)

    method: Word = Field(
        description='ngram, suffix, draft_model, eagle3, mtp, ... "none" undoes a common setting in a variant.'
    )
    num_speculative_tokens: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="Tokens proposed per step."
    )
    num_speculative_tokens_per_batch_size: Annotated[tuple[DepthByBatchSize, ...], Field(max_length=16)] | None = Field(
        None, description="Depth by batch size, ascending ranges.", json_schema_extra=ATOMIC_LIST
    )
    prompt_lookup_max: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="Longest n-gram looked up."
    )
    prompt_lookup_min: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="Shortest n-gram looked up."
    )
    draft_tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="Devices the draft is split over: 1 or the target's."
    )
    model: Checkpoint | None = Field(None, description="The draft.")


class Parallelism(ApiModel):
    """How one replica is spread over devices."""

    tensor_parallel_size: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="Splits each layer.")
    pipeline_parallel_size: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="Splits the layers.")
    data_parallel_size: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="Engine copies inside one replica; only for mixtures of experts."
    )
    enable_expert_parallel: bool | None = Field(None, description="Spread experts over devices.")


class VllmSettings(ApiModel):
    """vLLM's settings, without the version."""

    image: (
        Annotated[
            str, Field(min_length=1, max_length=512, pattern=r"^[a-z0-9][A-Za-z0-9._:/-]*(@sha256:[a-f0-9]{64})?$")
        ]
        | None
    ) = Field(None, description="Engine image. Default: the operator's table by version and platform.")
    dtype: Word | None = Field(None, description="Type of the weights and activations: auto, bfloat16, float16, ...")
    max_model_len: Tokens | None = Field(None, description="Longest sequence (prompt and answer), tokens.")
    quantization: Quantization | None = Field(None, description="How weights are quantized.")
    kv_cache: KvCache | None = Field(None, description="The memory of running sequences.")
    batching: Batching | None = Field(None, description="How requests are put together into steps.")
    speculative: Speculative | None = Field(None, description="Speculative decoding.")
    parallelism: Parallelism | None = Field(None, description="How one replica is spread over devices.")
    enforce_eager: bool | None = Field(
        None, description="No compilation and no CUDA graphs: starts sooner, runs slower."
    )
    optimization_level: Annotated[int, Field(ge=0, le=3)] | None = Field(
        None, description="0 starts soonest, 2 is vLLM's default."
    )
    trust_remote_code: bool | None = Field(
        None, description="Runs code that comes with the checkpoint. Not supported: true is refused."
    )
    extra_args: (
        Annotated[
            tuple[Annotated[str, Field(min_length=3, max_length=1024, pattern=r"^--[a-z]")], ...], Field(max_length=64)
        ]
        | None
    ) = Field(
        None,
        description="Further flags as --flag=value. Only flags that the version's data marks as allowed.",
        json_schema_extra=ATOMIC_LIST,
    )


class VllmEngine(VllmSettings):
    """vLLM: version and settings."""

    version: Version = Field(
        description="vLLM release, such as 0.33.0. Required with a custom image too: it says which flags it knows."
    )


class Engine(ApiModel):
    """The engine: exactly one member. vLLM is the only one for now."""

    model_config = ConfigDict(json_schema_extra=exactly_one_of("vllm", message="exactly one engine must be set: vllm"))

    vllm: VllmEngine | None = Field(None, description="vLLM.")


class VllmOverride(VllmSettings):
    """vLLM settings of one variant: what is set here replaces the common setting, leaf by leaf."""

    version: Version | None = Field(None, description="vLLM release, if it differs.")


class EngineOverride(ApiModel):
    """Engine settings of one variant."""

    vllm: VllmOverride | None = Field(None, description="vLLM settings that differ.")
