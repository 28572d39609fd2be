"""Speculative decoding: a method that the release knows, with the draft and the depth it needs."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.case import Case, Finding
from inference_fleet.engine.memory import draft_facts

_PATH = "engine.vllm.speculative"
_NEEDS_DRAFT = ("draft_model", "eagle", "eagle3", "dflash", "dspark")
_WITHOUT_DRAFT = ("ngram", "ngram_gpu", "suffix")
# config/vllm.py of 0.32 and 0.33; and everything called mtp.
_AHEAD = ("eagle", "eagle3", "draft_model", "ngram_gpu", "dspark", "dflash")
# Methods that need what no field can give: Python code, or files that something else writes.
_NOT_OFFERED = ("custom_class", "extract_hidden_states")


def method(case: Case) -> Iterator[Finding]:
    """The method and its parts."""
    speculative, version = case.engine.speculative, case.version
    if speculative is None:
        return
    name = speculative.method
    if name not in version.speculative_methods or name in _NOT_OFFERED:
        yield _unknown(case, name)
        return
    if name in version.deprecated_speculative:
        message = f"{name} is gone in the next release of vLLM."
        way_out = f"Its successor is {version.deprecated_speculative[name]}."
        yield Advice(f"{_PATH}.method", Reason.DEPRECATED, message, way_out)
    if name in _NEEDS_DRAFT and speculative.model is None:
        message = f"{name} needs a draft."
        yield Refusal(f"{_PATH}.model", Reason.CONFLICTING_SETTINGS, message, "Set speculative.model.")
    if name in _WITHOUT_DRAFT and speculative.model is not None:
        message = f"{name} takes no draft model."
        yield Refusal(f"{_PATH}.model", Reason.CONFLICTING_SETTINGS, message, "Leave it out.")
    if name in ("ngram", "ngram_gpu") and speculative.num_speculative_tokens is None:
        message = f"{name} needs a depth."
        yield Refusal(
            f"{_PATH}.numSpeculativeTokens", Reason.CONFLICTING_SETTINGS, message, "Set it, for example to 4."
        )
    if name == "suffix" and case.engine.image is None:
        message = "suffix needs the Python package arctic-inference, which vLLM does not bring along."
        yield Advice(f"{_PATH}.method", Reason.UNSUPPORTED_SETTING, message, "Name an image that has it.")
    if speculative.model is not None and speculative.model.s3 is not None:
        message = "a draft cannot be streamed from object storage yet."
        way_out = "Use huggingFace, persistentVolumeClaim or image for it."
        yield Refusal(f"{_PATH}.model.s3", Reason.NOT_SUPPORTED_YET, message, way_out)
    draft_devices = speculative.draft_tensor_parallel_size
    if draft_devices is not None and draft_devices not in (1, case.tensor_parallel_size):
        message = f"{draft_devices} is neither 1 nor the target's tensorParallelSize {case.tensor_parallel_size}."
        yield Refusal(f"{_PATH}.draftTensorParallelSize", Reason.CONFLICTING_SETTINGS, message, "Leave it out.")


def draft_vocabulary(case: Case) -> Iterator[Finding]:
    """A draft model proposes tokens of the target: their vocabularies must be one."""
    speculative, draft = case.engine.speculative, draft_facts(case)
    if speculative is None or speculative.method != "draft_model" or draft is None or case.facts is None:
        return
    mine, theirs = case.facts.vocab_size, draft.vocab_size
    if mine is not None and theirs is not None and mine != theirs:
        message = f"the draft's vocabulary has {theirs} tokens, the model's {mine}: it cannot be its draft."
        way_out = "Use a smaller model of the same family."
        yield Refusal(f"{_PATH}.model", Reason.CONFLICTING_SETTINGS, message, way_out)


def depth_by_batch_size(case: Case) -> Iterator[Finding]:
    """Replicas with data parallelism take one depth for all batches (vLLM 0.24 and newer)."""
    speculative = case.engine.speculative
    depths = speculative.num_speculative_tokens_per_batch_size if speculative else None
    if depths and case.processes > case.model_parallel_size:
        message = "is ignored by vLLM with dataParallelSize above 1: the depth is the same for every batch."
        path = f"{_PATH}.numSpeculativeTokensPerBatchSize"
        yield Advice(path, Reason.IGNORED, message, "Leave dataParallelSize out: more replicas do the same.")


def async_scheduling(case: Case) -> Iterator[Finding]:
    """Methods that propose from what the last step wrote cannot be scheduled ahead of it."""
    speculative, batching = case.engine.speculative, case.engine.batching
    if speculative is None or batching is None or not batching.async_scheduling:
        return
    method = speculative.method
    if method not in _AHEAD and not method.endswith("mtp"):
        message = f"speculative method {method} cannot be scheduled ahead."
        way_out = "Leave it out: vLLM then decides by the method."
        yield Refusal("engine.vllm.batching.asyncScheduling", Reason.CONFLICTING_SETTINGS, message, way_out)


def _unknown(case: Case, method: str) -> Refusal:
    version = case.version
    message = f"{method} is not a speculative method of vLLM {version.version}."
    if method in _NOT_OFFERED:
        message = f"{method} needs code or files that no field can name."
    offered = [name for name in version.speculative_methods if name not in _NOT_OFFERED]
    successor = version.removed_speculative.get(method)
    way_out = f"Its successor is {successor}." if successor else f"Known are {', '.join(offered)}."
    return Refusal(f"{_PATH}.method", Reason.UNSUPPORTED_SETTING, message, way_out)
