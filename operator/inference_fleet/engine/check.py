"""Right or refused: a variant's intent against its vLLM version and its accelerator, before a pod exists.

Every rule is one small function in `_RULES`; a new rule is a new function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.checkpoint import ModelShape
from inference_fleet.api.conditions import Reason
from inference_fleet.api.intent import VariantIntent
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.arguments import engine_arguments, engine_environment
from inference_fleet.engine.command_line import nearest_option, options_of
from inference_fleet.engine.engine_plan import EffectiveLimits, EnginePlan, EngineResult, MemoryReport
from inference_fleet.engine.flag_values import BadValue, read_value
from inference_fleet.engine.limits import effective_limits
from inference_fleet.engine.step_time import DEFAULT_STEP_TIME
from inference_fleet.engine.versions import EngineVersion, engine_version


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the rules look at."""

    intent: VariantIntent
    version: EngineVersion
    accelerator: AcceleratorClassSpec
    accelerator_name: str
    limits: EffectiveLimits
    shape: ModelShape | None

    @property
    def devices(self) -> int:
        """Devices of one replica; none on CPU."""
        if self.accelerator.platform == "CPU":
            return 0
        parallel = self.intent.engine.parallelism
        sizes = (
            (parallel.tensor_parallel_size, parallel.pipeline_parallel_size, parallel.data_parallel_size)
            if parallel
            else ()
        )
        return math.prod(size or 1 for size in sizes)


Finding = Refusal | Advice
_NEEDS_DRAFT = ("draft_model", "eagle", "eagle3", "dflash", "dspark")
_WITHOUT_DRAFT = ("ngram", "ngram_gpu", "suffix")


def check_variant(
    intent: VariantIntent,
    accelerator: AcceleratorClassSpec,
    *,
    accelerator_name: str,
    shape: ModelShape | None = None,
) -> EngineResult:
    """What this variant comes to. Paths are relative to the merged intent: `engine.vllm.maxModelLen`.

    shape: facts of the model from elsewhere; the intent's own win.
    """
    version = engine_version(intent.engine.version)
    if isinstance(version, Refusal):
        return EngineResult(refusals=(version,), warnings=(), plan=None)
    known = intent.model.shape or shape
    limits = effective_limits(intent.engine, version=version, accelerator=accelerator, shape=known)
    case = Case(
        intent=intent,
        version=version,
        accelerator=accelerator,
        accelerator_name=accelerator_name,
        limits=limits,
        shape=known,
    )
    findings = [finding for rule in _RULES for finding in rule(case)]
    refusals = tuple(finding for finding in findings if isinstance(finding, Refusal))
    advice = tuple(finding for finding in findings if isinstance(finding, Advice))
    return EngineResult(refusals=refusals, warnings=advice, plan=None if refusals else _plan(case))


def _plan(case: Case) -> EnginePlan:
    intent = case.intent
    image = intent.engine.image or case.version.image(case.accelerator.platform)
    assert image is not None
    return EnginePlan(
        version=case.version.version,
        image=image,
        command=(),
        args=engine_arguments(intent, limits=case.limits),
        env=engine_environment(intent),
        devices_per_replica=case.devices,
        effective=case.limits,
        shape_source="unknown" if case.shape is None else "spec",
        memory=MemoryReport(verdict="Unknown"),
        step_time=DEFAULT_STEP_TIME,
        kv_cache_tokens=None,
    )


def _reviewed(case: Case) -> Iterator[Finding]:
    version = case.version
    if not version.reviewed:
        message = f"{version.version} is newer than {version.data_version}, which its flags were checked against"
        yield Advice("engine.vllm.version", Reason.VERSION_NOT_REVIEWED, message)


def _image(case: Case) -> Iterator[Finding]:
    platform = case.accelerator.platform
    if case.intent.engine.image is None and case.version.image(platform) is None:
        message = f"there is no default image of vLLM {case.version.version} for {platform}"
        yield Refusal("engine.vllm.image", Reason.UNSUPPORTED_ON_ACCELERATOR, message, "Name an image.")


def _remote_code(case: Case) -> Iterator[Finding]:
    if case.intent.engine.trust_remote_code:
        message = "code that comes with a checkpoint is not run"
        yield Refusal("engine.vllm.trustRemoteCode", Reason.NOT_SUPPORTED_YET, message, "Leave it out.")


def _length(case: Case) -> Iterator[Finding]:
    if case.limits.max_model_len is None:
        message = "nothing says how long sequences may be: the engine fits the length to its memory (auto)"
        way_out = "Set maxModelLen or model.shape.maxPositionEmbeddings for a length that is known beforehand."
        yield Advice("engine.vllm.maxModelLen", Reason.LENGTH_UNKNOWN, message, way_out)
    elif (
        case.shape
        and case.shape.max_position_embeddings
        and case.limits.max_model_len > case.shape.max_position_embeddings
    ):
        message = (
            f"{case.limits.max_model_len} exceeds what the model was made for ({case.shape.max_position_embeddings})"
        )
        way_out = f"Set {case.shape.max_position_embeddings} or less."
        yield Refusal("engine.vllm.maxModelLen", Reason.OUT_OF_RANGE, message, way_out)


def _dtype(case: Case) -> Iterator[Finding]:
    flag = case.version.flag("dtype")
    if case.intent.engine.dtype:
        value = read_value(flag, case.intent.engine.dtype)
        if isinstance(value, BadValue):
            yield Refusal("engine.vllm.dtype", Reason.UNSUPPORTED_SETTING, value.message)


def _quantization(case: Case) -> Iterator[Finding]:
    if case.intent.engine.quantization is None:
        return
    path = "engine.vllm.quantization.method"
    name, version = case.intent.engine.quantization.method, case.version
    method = version.quantization.get(name)
    if method is None:
        successor = version.removed_quantization.get(name)
        known = ", ".join(version.quantization)
        way_out = f"Use {successor} instead." if successor else f"Known are {known}."
        message = f"{name} is not a quantization method of vLLM {version.version}"
        yield Refusal(path, Reason.UNSUPPORTED_SETTING, message, way_out)
        return
    platform = case.accelerator.platform
    capability = _capability(case.accelerator)
    usable = [
        m.method
        for m in version.quantization.values()
        if platform not in m.unsupported
        and not m.deprecated
        and (capability is None or m.minimum_capability <= capability)
    ]
    way_out = f"What works here: {', '.join(usable)}."
    if platform in method.unsupported:
        message = f"{name} does not run on {platform} (AcceleratorClass {case.accelerator_name})"
        message += f": {method.unsupported[platform]}"
        yield Refusal(path, Reason.UNSUPPORTED_ON_ACCELERATOR, message, way_out)
    minimum = method.minimum_capability
    if capability is not None and capability < minimum:
        message = (
            f"{name} needs compute capability {minimum // 10}.{minimum % 10} or newer; AcceleratorClass"
            f" {case.accelerator_name} has {case.accelerator.architecture}"
        )
        yield Refusal(path, Reason.UNSUPPORTED_ON_ACCELERATOR, message, way_out)
    if method.deprecated:
        yield Advice(path, Reason.DEPRECATED, f"{name} is deprecated in vLLM {case.version.version}")


def _kv_cache_dtype(case: Case) -> Iterator[Finding]:
    cache = case.intent.engine.kv_cache
    if cache is None or cache.kv_cache_dtype is None:
        return
    known = case.version.kv_cache_types
    if cache.kv_cache_dtype not in known:
        message = f"{cache.kv_cache_dtype} is not a KV cache type of vLLM {case.version.version}"
        way_out = f"Known are {', '.join(known)}."
        yield Refusal("engine.vllm.kvCache.kvCacheDtype", Reason.UNSUPPORTED_SETTING, message, way_out)


def _batching(case: Case) -> Iterator[Finding]:
    limits, batching = case.limits, case.intent.engine.batching
    path = "engine.vllm.batching"
    if limits.max_num_batched_tokens < limits.max_num_seqs:
        message = f"{limits.max_num_batched_tokens} is less than maxNumSeqs {limits.max_num_seqs}"
        way_out = "Every running sequence takes one token of a step: raise it, or lower maxNumSeqs."
        yield Refusal(f"{path}.maxNumBatchedTokens", Reason.CONFLICTING_SETTINGS, message, way_out)
    if batching is None:
        return
    if batching.enable_chunked_prefill is False and (
        limits.max_model_len is None or limits.max_num_batched_tokens < limits.max_model_len
    ):
        length = limits.max_model_len or "an unknown maxModelLen"
        message = f"without chunked prefill {limits.max_num_batched_tokens} tokens must hold a prompt of {length}"
        way_out = "Set maxNumBatchedTokens to at least maxModelLen, or leave chunked prefill on."
        yield Refusal(f"{path}.enableChunkedPrefill", Reason.CONFLICTING_SETTINGS, message, way_out)
    if batching.max_num_active_seqs and batching.max_num_active_seqs > limits.max_num_seqs:
        message = f"{batching.max_num_active_seqs} exceeds maxNumSeqs {limits.max_num_seqs}"
        yield Refusal(f"{path}.maxNumActiveSeqs", Reason.CONFLICTING_SETTINGS, message, "Lower it.")
    if (
        batching.long_prefill_token_threshold
        and limits.max_model_len
        and batching.long_prefill_token_threshold > limits.max_model_len
    ):
        message = f"{batching.long_prefill_token_threshold} exceeds maxModelLen {limits.max_model_len}"
        yield Refusal(f"{path}.longPrefillTokenThreshold", Reason.CONFLICTING_SETTINGS, message, "Lower it.")
    if batching.scheduling_policy:
        value = read_value(case.version.flag("scheduling_policy"), batching.scheduling_policy)
        if isinstance(value, BadValue):
            yield Refusal(f"{path}.schedulingPolicy", Reason.UNSUPPORTED_SETTING, value.message)


def _speculative(case: Case) -> Iterator[Finding]:
    speculative = case.intent.engine.speculative
    if speculative is None:
        return
    version, path = case.version, "engine.vllm.speculative"
    if speculative.method not in version.speculative_methods:
        successor = version.removed_speculative.get(speculative.method)
        message = f"{speculative.method} is not a speculative method of vLLM {version.version}"
        way_out = f"Its successor is {successor}." if successor else f"Known: {', '.join(version.speculative_methods)}."
        yield Refusal(f"{path}.method", Reason.UNSUPPORTED_SETTING, message, way_out)
        return
    if speculative.method in _NEEDS_DRAFT and speculative.model is None:
        message = f"{speculative.method} needs a draft"
        yield Refusal(f"{path}.model", Reason.CONFLICTING_SETTINGS, message, "Set speculative.model.")
    draftless = speculative.method in _WITHOUT_DRAFT
    if draftless and speculative.model is not None:
        message = f"{speculative.method} takes no draft model"
        yield Refusal(f"{path}.model", Reason.CONFLICTING_SETTINGS, message, "Leave it out.")
    if draftless and speculative.num_speculative_tokens is None:
        message = f"{speculative.method} needs a depth"
        yield Refusal(f"{path}.numSpeculativeTokens", Reason.CONFLICTING_SETTINGS, message, "Set it, for example to 4.")


def _parallelism(case: Case) -> Iterator[Finding]:
    parallel, path = case.intent.engine.parallelism, "engine.vllm.parallelism"
    per_node = case.accelerator.devices_per_node
    if case.devices > per_node:
        message = (
            f"a replica needs {case.devices} devices; a node of AcceleratorClass {case.accelerator_name} has {per_node}"
        )
        way_out = "Replicas that span nodes are not built yet: use a class with larger nodes, or smaller sizes."
        yield Refusal(path, Reason.TOO_MANY_DEVICES, message, way_out)
    heads = case.shape.num_attention_heads if case.shape else None
    if parallel and parallel.tensor_parallel_size and heads and heads % parallel.tensor_parallel_size:
        message = f"{parallel.tensor_parallel_size} does not divide the model's {heads} attention heads"
        yield Refusal(f"{path}.tensorParallelSize", Reason.CONFLICTING_SETTINGS, message, "Use a divisor.")


def _extra_arguments(case: Case) -> Iterator[Finding]:
    flags = options_of(case.version)
    for index, argument in enumerate(case.intent.engine.extra_args or ()):
        path = f"engine.vllm.extraArgs[{index}]"
        option, equals, text = argument.partition("=")
        flag = flags.get(option)
        if flag is None:
            near = nearest_option(case.version, option)
            way_out = f"Did you mean {near}?" if near else None
            message = f"vLLM {case.version.version} has no flag {option}"
            yield Refusal(path, Reason.UNSUPPORTED_FLAG, message, way_out)
        elif flag.mark == "typed":
            where = f"Set {flag.field}." if flag.field else "The operator sets it."
            yield Refusal(path, Reason.FLAG_NOT_ALLOWED, f"{option} has a field of its own", where)
        elif flag.mark == "denied":
            yield Refusal(path, Reason.FLAG_NOT_ALLOWED, f"{option} is not allowed: {flag.reason}")
        elif flag.kind in ("switch", "presence"):
            if equals:
                yield Refusal(path, Reason.OUT_OF_RANGE, f"{option} takes no value", f"Write {option}.")
        elif not equals:
            yield Refusal(path, Reason.OUT_OF_RANGE, f"{option} needs a value", f"Write {option}=VALUE.")
        else:
            value = read_value(flag, text)
            if isinstance(value, BadValue):
                yield Refusal(path, Reason.OUT_OF_RANGE, f"{option}: {value.message}")


def _capability(accelerator: AcceleratorClassSpec) -> int | None:
    """Compute capability times ten; None off CUDA."""
    if accelerator.platform != "CUDA":
        return None
    major, _, minor = accelerator.architecture.partition(".")
    return int(major) * 10 + int(minor) if major.isdigit() and minor.isdigit() else None


_RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    _reviewed,
    _image,
    _remote_code,
    _length,
    _dtype,
    _quantization,
    _kv_cache_dtype,
    _batching,
    _speculative,
    _parallelism,
    _extra_arguments,
)
