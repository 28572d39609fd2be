"""Speculative decoding: a method that the release knows, with the draft and the depth it needs."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.case import Case, Finding

_PATH = "engine.vllm.speculative"
_NEEDS_DRAFT = ("draft_model", "eagle", "eagle3", "dflash", "dspark")
_WITHOUT_DRAFT = ("ngram", "ngram_gpu", "suffix")
# Methods that need what no field can give: Python code, or files that something else writes.
_NOT_OFFERED = ("custom_class", "extract_hidden_states")


def speculation(case: Case) -> Iterator[Finding]:
    """The method and its parts."""
    speculative, version = case.engine.speculative, case.version
    if speculative is None:
        return
    method = speculative.method
    if method not in version.speculative_methods or method in _NOT_OFFERED:
        yield _unknown(case, method)
        return
    if method in version.deprecated_speculative:
        message = f"{method} is gone in the next release of vLLM."
        way_out = f"Its successor is {version.deprecated_speculative[method]}."
        yield Advice(f"{_PATH}.method", Reason.DEPRECATED, message, way_out)
    if method in _NEEDS_DRAFT and speculative.model is None:
        message = f"{method} needs a draft."
        yield Refusal(f"{_PATH}.model", Reason.CONFLICTING_SETTINGS, message, "Set speculative.model.")
    if method in _WITHOUT_DRAFT and speculative.model is not None:
        message = f"{method} takes no draft model."
        yield Refusal(f"{_PATH}.model", Reason.CONFLICTING_SETTINGS, message, "Leave it out.")
    if method in ("ngram", "ngram_gpu") and speculative.num_speculative_tokens is None:
        message = f"{method} needs a depth."
        yield Refusal(
            f"{_PATH}.numSpeculativeTokens", Reason.CONFLICTING_SETTINGS, message, "Set it, for example to 4."
        )
    if method == "suffix" and case.engine.image is None:
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


def _unknown(case: Case, method: str) -> Refusal:
    version = case.version
    message = f"{method} is not a speculative method of vLLM {version.version}."
    if method in _NOT_OFFERED:
        message = f"{method} needs code or files that no field can name."
    offered = [name for name in version.speculative_methods if name not in _NOT_OFFERED]
    successor = version.removed_speculative.get(method)
    way_out = f"Its successor is {successor}." if successor else f"Known are {', '.join(offered)}."
    return Refusal(f"{_PATH}.method", Reason.UNSUPPORTED_SETTING, message, way_out)
