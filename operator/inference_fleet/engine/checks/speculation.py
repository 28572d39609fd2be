"""Speculative decoding: a method that the release knows, with the draft and the depth it needs."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.api.vllm_engine import Speculative
from inference_fleet.engine.case import Case, Finding

_PATH = "engine.vllm.speculative"
# It goes as deep as its tree. (vLLM reads the depth of some drafts out of their files; nobody else can then tell it.)
OWN_DEPTH = ("suffix",)
# config/vllm.py of 0.32 and 0.33; and everything called mtp.
AHEAD = ("eagle", "eagle3", "draft_model", "ngram_gpu", "dspark", "dflash")
# Methods that need what no field can give: Python code, or files that something else writes.
NOT_OFFERED = ("custom_class", "extract_hidden_states")


def method(case: Case) -> Iterator[Finding]:
    """Known to the release, offered here, and possible on the platform."""
    speculative, version = case.engine.speculative, case.version
    if speculative is None:
        return
    name = speculative.method
    if name not in version.speculative_methods or name in NOT_OFFERED:
        yield _unknown(case, name)
        return
    if name in version.deprecated_speculative:
        message = f"{name} is gone in the next release of vLLM."
        way_out = f"Its successor is {version.deprecated_speculative[name]}."
        yield Advice(f"{_PATH}.method", Reason.DEPRECATED, message, way_out)
    if name == "suffix" and case.engine.image is None:
        message = "suffix needs the Python package arctic-inference, which vLLM does not bring along."
        yield Refusal(f"{_PATH}.method", Reason.UNSUPPORTED_SETTING, message, "Name an image that has it.")
    if name == "dspark" and case.platform == "CPU":
        message = "vLLM has dspark for GPUs only."
        yield Refusal(f"{_PATH}.method", Reason.UNSUPPORTED_ON_ACCELERATOR, message, "Use ngram or draft_model.")


def offered(case: Case) -> Speculative | None:
    """The speculation of these settings, if its method is one that can be had: what else is wrong counts only then."""
    speculative = case.engine.speculative
    known = speculative is not None and speculative.method in case.version.speculative_methods
    return speculative if speculative is not None and known and speculative.method not in NOT_OFFERED else None


def depth(case: Case) -> Iterator[Finding]:
    """How many tokens are proposed."""
    speculative = offered(case)
    if speculative is None or speculative.num_speculative_tokens is not None:
        return
    if speculative.method not in OWN_DEPTH:
        path = f"{_PATH}.numSpeculativeTokens"
        message = f"{speculative.method} needs to know how many tokens it is to propose."
        yield Refusal(path, Reason.CONFLICTING_SETTINGS, message, "Set it, for example to 3.")


def depth_by_batch_size(case: Case) -> Iterator[Finding]:
    """Depths for ranges of batch sizes: from 1 on, at most the depth; with data parallelism none (vLLM 0.24 and newer).

    vLLM reads them only when the engine starts (v1/spec_decode/dynamic/utils.py): what is wrong ends it there.
    """
    speculative = offered(case)
    depths = speculative.num_speculative_tokens_per_batch_size if speculative else None
    if speculative is None or not depths:
        return
    path = f"{_PATH}.numSpeculativeTokensPerBatchSize"
    first = min(row.min_seqs for row in depths)
    if first != 1:
        message = f"begins at {first} sequences: smaller batches have no entry."
        yield Refusal(path, Reason.CONFLICTING_SETTINGS, message, "Begin with minSeqs 1.")
    deepest, most = max(row.num_speculative_tokens for row in depths), speculative.num_speculative_tokens
    if most is not None and deepest > most:
        message = f"{deepest} tokens are more than numSpeculativeTokens {most}, which is the most of all."
        yield Refusal(
            path, Reason.CONFLICTING_SETTINGS, message, f"Set numSpeculativeTokens to {deepest}, or lower it."
        )
    if case.processes > case.model_parallel_size:
        message = "is ignored by vLLM with dataParallelSize above 1: the depth is the same for every batch."
        yield Advice(path, Reason.IGNORED, message, "Leave dataParallelSize out: more replicas do the same.")


def async_scheduling(case: Case) -> Iterator[Finding]:
    """Methods that propose from what the last step wrote cannot be scheduled ahead of it."""
    speculative, batching = offered(case), case.engine.batching
    if speculative is None or batching is None or not batching.async_scheduling:
        return
    method = speculative.method
    if method not in AHEAD and not method.endswith("mtp"):
        message = f"speculative method {method} cannot be scheduled ahead."
        way_out = "Leave it out: vLLM then decides by the method."
        yield Refusal("engine.vllm.batching.asyncScheduling", Reason.CONFLICTING_SETTINGS, message, way_out)


def _unknown(case: Case, method: str) -> Refusal:
    version = case.version
    message = f"{method} is not a speculative method of vLLM {version.version}."
    if method in NOT_OFFERED:
        message = f"{method} needs code or files that no field can name."
    offered = [name for name in version.speculative_methods if name not in NOT_OFFERED]
    successor = version.removed_speculative.get(method)
    way_out = f"Its successor is {successor}." if successor else f"Known are {', '.join(offered)}."
    return Refusal(f"{_PATH}.method", Reason.UNSUPPORTED_SETTING, message, way_out)
