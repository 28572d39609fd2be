"""What a user may say about vLLM. Names are vLLM's flag names in camelCase; None means: not said.

Vocabulary that changes with vLLM's releases (methods, types, policies) is a bounded string here and checked against
the release's data by `engine`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from inference_fleet.api.checkpoint import Checkpoint
from inference_fleet.api.model_base import ApiModel
from inference_fleet.api.schema_rules import ATOMIC_LIST, Rule, exactly_one_of

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
    enable_prefix_caching: bool | None = Field(None, description="Reuse the cache of prompts that begin alike.")
    block_size: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="Tokens per cache block.")


class Batching(ApiModel):
    """How requests are batched into steps."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.maxNumBatchedTokens) || !has(self.maxNumSeqs) || self.maxNumBatchedTokens >= self.maxNumSeqs",
            "maxNumBatchedTokens must be at least maxNumSeqs: every running sequence takes one token of a step",
            lambda b: (
                b.max_num_batched_tokens is None or b.max_num_seqs is None or b.max_num_batched_tokens >= b.max_num_seqs
            ),
            field="maxNumBatchedTokens",
        ),
        Rule(
            "!has(self.maxNumActiveSeqs) || !has(self.maxNumSeqs) || self.maxNumActiveSeqs <= self.maxNumSeqs",
            "maxNumActiveSeqs must not exceed maxNumSeqs",
            lambda b: (
                b.max_num_active_seqs is None or b.max_num_seqs is None or b.max_num_active_seqs <= b.max_num_seqs
            ),
            field="maxNumActiveSeqs",
        ),
    )

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

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minSeqs <= self.maxSeqs",
            "minSeqs must not exceed maxSeqs",
            lambda depth: depth.min_seqs <= depth.max_seqs,
            field="minSeqs",
        ),
    )

    min_seqs: Annotated[int, Field(ge=1, le=65536)] = Field(description="Smallest batch of the range, sequences.")
    max_seqs: Annotated[int, Field(ge=1, le=65536)] = Field(description="Largest batch of the range, sequences.")
    num_speculative_tokens: Annotated[int, Field(ge=0, le=64)] = Field(
        description="Tokens proposed per step; 0 turns speculation off."
    )


DRAFTED_METHODS = ("draft_model", "eagle", "eagle3", "dflash", "dspark")
DRAFTLESS_METHODS = ("ngram", "ngram_gpu", "suffix")
LOOKUP_METHODS = ("ngram", "ngram_gpu")


def _words(methods: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{method}'" for method in methods) + "]"


_SPECULATIVE_RULES = (
    Rule(
        f"!(self.method in {_words(DRAFTLESS_METHODS)}) || !has(self.model)",
        "this speculative method takes no draft model: leave speculative.model out",
        lambda s: s.method not in DRAFTLESS_METHODS or s.model is None,
        field="model",
    ),
    Rule(
        "!has(self.promptLookupMin) || !has(self.promptLookupMax) || self.promptLookupMin <= self.promptLookupMax",
        "promptLookupMin must not exceed promptLookupMax",
        lambda s: (
            s.prompt_lookup_min is None or s.prompt_lookup_max is None or s.prompt_lookup_min <= s.prompt_lookup_max
        ),
        field="promptLookupMin",
    ),
    Rule(
        f"!(has(self.promptLookupMin) || has(self.promptLookupMax)) || self.method in {_words(LOOKUP_METHODS)}",
        "promptLookupMin and promptLookupMax belong to the methods ngram and ngram_gpu",
        lambda s: (s.prompt_lookup_min is None and s.prompt_lookup_max is None) or s.method in LOOKUP_METHODS,
    ),
    Rule(
        "!has(self.numSpeculativeTokensPerBatchSize) ||"
        " self.numSpeculativeTokensPerBatchSize.all(a, self.numSpeculativeTokensPerBatchSize.all(b,"
        " a == b || a.maxSeqs < b.minSeqs || b.maxSeqs < a.minSeqs))",
        "two ranges of numSpeculativeTokensPerBatchSize overlap",
        lambda s: all(
            a == b or a.max_seqs < b.min_seqs or b.max_seqs < a.min_seqs
            for a in s.num_speculative_tokens_per_batch_size or ()
            for b in s.num_speculative_tokens_per_batch_size or ()
        ),
        field="numSpeculativeTokensPerBatchSize",
    ),
)


class SpeculativeSettings(ApiModel):
    """Speculative decoding, as a variant says it: a draft may come from the common settings."""

    rules: ClassVar[tuple[Rule, ...]] = _SPECULATIVE_RULES

    method: Word = Field(
        description='ngram, suffix, draft_model, eagle3, mtp, ... "none" undoes a common setting in a variant.'
    )
    num_speculative_tokens: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="Tokens proposed per step."
    )
    num_speculative_tokens_per_batch_size: Annotated[tuple[DepthByBatchSize, ...], Field(max_length=16)] | None = Field(
        None,
        description="Number of speculative tokens by batch size, in ascending ranges.",
        json_schema_extra=ATOMIC_LIST,
    )
    prompt_lookup_max: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="Longest n-gram looked up."
    )
    prompt_lookup_min: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="Shortest n-gram looked up."
    )
    draft_tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="Devices that the draft model is split over: 1, or as many as the target model."
    )
    model: Checkpoint | None = Field(None, description="The draft model.")


class Speculative(SpeculativeSettings):
    """Speculative decoding."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *_SPECULATIVE_RULES,
        Rule(
            f"!(self.method in {_words(DRAFTED_METHODS)}) || has(self.model)",
            "this speculative method needs a draft: set speculative.model",
            lambda s: s.method not in DRAFTED_METHODS or s.model is not None,
            field="model",
        ),
    )


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
    batching: Batching | None = Field(None, description="How requests are batched into steps.")
    speculative: SpeculativeSettings | None = Field(None, description="Speculative decoding.")
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

    speculative: Speculative | None = Field(None, description="Speculative decoding.")
    version: Version = Field(
        description="vLLM release, such as 0.33.0. Required with a custom image too: it says which flags it knows."
    )


class Engine(ApiModel):
    """The engine: exactly one member. vLLM is the only one for now."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one_of("vllm", attributes=("vllm",), message="exactly one engine must be set: vllm"),
    )

    vllm: VllmEngine | None = Field(None, description="vLLM.")


class VllmOverride(VllmSettings):
    """vLLM settings of one variant: what is set here replaces the common setting, leaf by leaf."""

    version: Version | None = Field(None, description="vLLM release, if it differs.")
    speculative: SpeculativeSettings | None = Field(
        None,
        description="Speculative decoding. With another method than the common one it replaces that whole,"
        " otherwise leaf by leaf.",
    )


class EngineOverride(ApiModel):
    """Engine settings of one variant."""

    vllm: VllmOverride | None = Field(None, description="vLLM settings that differ.")
