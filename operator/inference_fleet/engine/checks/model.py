"""The model, its source, type and length, and the image that is to run it."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.case import Case, Finding
from inference_fleet.engine.flag_values import BadValue, read_value
from inference_fleet.engine.memory import memory_report


def release(case: Case) -> Iterator[Finding]:
    """A patch newer than the data: probably right, not looked at."""
    version = case.version
    if not version.reviewed:
        message = f"vLLM {version.version} is newer than {version.data_version}, which its flags were read from."
        yield Advice("engine.vllm.version", Reason.VERSION_NOT_REVIEWED, message)


def image(case: Case) -> Iterator[Finding]:
    """Some platforms have no image that the vLLM project publishes."""
    if case.engine.image is None and case.version.image(case.platform) is None:
        message = f"there is no default image of vLLM {case.version.version} for {case.platform}."
        yield Refusal("engine.vllm.image", Reason.UNSUPPORTED_ON_ACCELERATOR, message, "Name an image.")


def remote_code(case: Case) -> Iterator[Finding]:
    """Code out of a checkpoint would run with the pod's rights."""
    if case.engine.trust_remote_code:
        message = "code that comes with a checkpoint is not run."
        yield Refusal("engine.vllm.trustRemoteCode", Reason.NOT_SUPPORTED_YET, message, "Leave it out.")


def source(case: Case) -> Iterator[Finding]:
    """The weights come from one place that this release can read."""
    if case.intent.model.source == "none":
        message = "names no source."
        way_out = "Set one of huggingFace, persistentVolumeClaim, image, s3."
        yield Refusal("model", Reason.INVALID_SPEC, message, way_out)


def dtype(case: Case) -> Iterator[Finding]:
    """The type of weights and activations."""
    if case.engine.dtype is None:
        return
    value = read_value(case.version.flag("dtype"), case.engine.dtype)
    if isinstance(value, BadValue):
        yield Refusal("engine.vllm.dtype", Reason.UNSUPPORTED_SETTING, f"{value.message}.")


def length(case: Case) -> Iterator[Finding]:
    """The longest sequence, against what the model was made for."""
    wanted = case.limits.max_model_len
    longest = case.shape.max_position_embeddings if case.shape else None
    fits = memory_report(case).largest_max_model_len if wanted is None and longest else None
    if wanted is None and longest:
        if not fits:
            # Nothing fits: that is refused, and says so.
            return
        message = f"the model's {longest} tokens may not fit: the engine then takes the length that fits, about {fits}."
        yield Advice("engine.vllm.maxModelLen", Reason.LENGTH_UNKNOWN, message, "Set maxModelLen to what you need.")
    elif wanted is None:
        message = "no length is set or known: the engine chooses one that fits its memory (auto)."
        way_out = "Set maxModelLen, or model.shape.maxPositionEmbeddings, for a length that is known beforehand."
        yield Advice("engine.vllm.maxModelLen", Reason.LENGTH_UNKNOWN, message, way_out)
    elif longest and wanted > longest:
        message = f"{wanted} tokens are more than the model was made for ({longest})."
        way_out = f"Set {longest} or less; if its config.json says more, set model.shape.maxPositionEmbeddings."
        yield Refusal("engine.vllm.maxModelLen", Reason.OUT_OF_RANGE, message, way_out)
