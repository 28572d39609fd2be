"""The draft of speculative decoding: whether one is needed, whether it is one, and whether it goes with the model."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.case import Case, Finding
from inference_fleet.engine.checks.speculation import offered
from inference_fleet.engine.memory import draft_facts

_PATH = "engine.vllm.speculative"
NEEDS_DRAFT = ("draft_model", "eagle", "eagle3", "dflash", "dspark", "medusa")
WITHOUT_DRAFT = ("ngram", "ngram_gpu", "suffix")


def draft(case: Case) -> Iterator[Finding]:
    """A draft where the method needs one, none where it takes none."""
    speculative = offered(case)
    if speculative is None:
        return
    name = speculative.method
    if name in NEEDS_DRAFT and speculative.model is None:
        yield Refusal(f"{_PATH}.model", Reason.CONFLICTING_SETTINGS, f"{name} needs a draft.", "Set speculative.model.")
    if name in WITHOUT_DRAFT and speculative.model is not None:
        message = f"{name} takes no draft model."
        yield Refusal(f"{_PATH}.model", Reason.CONFLICTING_SETTINGS, message, "Leave it out.")
    if speculative.model is not None and speculative.model.s3 is not None:
        message = "a draft cannot be streamed from object storage yet."
        way_out = "Use huggingFace, persistentVolumeClaim or image for it."
        yield Refusal(f"{_PATH}.model.s3", Reason.NOT_SUPPORTED_YET, message, way_out)


def draft_devices(case: Case) -> Iterator[Finding]:
    """A draft stands on one device or on all of the model's, which is what it does if nothing is said."""
    speculative = offered(case)
    if speculative is None or speculative.method in WITHOUT_DRAFT:
        return
    said, all_of_them = speculative.draft_tensor_parallel_size, case.tensor_parallel_size
    path = f"{_PATH}.draftTensorParallelSize"
    if said not in (None, 1, all_of_them):
        message = f"{said} is neither 1 nor the target's tensorParallelSize {all_of_them}."
        yield Refusal(path, Reason.CONFLICTING_SETTINGS, message, "Leave it out.")
        return
    facts, devices = draft_facts(case), said or all_of_them
    heads = facts.num_attention_heads if facts and speculative.method != "medusa" else None
    if heads and heads % devices:
        message = f"the draft's {heads} attention heads cannot be split over {devices} devices."
        yield Refusal(path, Reason.CONFLICTING_SETTINGS, message, "Set it to 1.")


def draft_vocabulary(case: Case) -> Iterator[Finding]:
    """A draft model proposes tokens of the target: their vocabularies must be one."""
    speculative, facts = offered(case), draft_facts(case)
    if speculative is None or speculative.method != "draft_model" or facts is None or case.facts is None:
        return
    mine, theirs = case.facts.vocab_size, facts.vocab_size
    if mine is not None and theirs is not None and mine != theirs:
        message = f"the draft's vocabulary has {theirs} tokens, the model's {mine}: it cannot be its draft."
        way_out = "Use a smaller model of the same family."
        yield Refusal(f"{_PATH}.model", Reason.CONFLICTING_SETTINGS, message, way_out)


def draft_architecture(case: Case) -> Iterator[Finding]:
    """A head is trained for one method; a model with heads of its own is one of those that vLLM knows."""
    speculative = offered(case)
    if speculative is None:
        return
    name, version = speculative.method, case.version
    facts = draft_facts(case) if speculative.model is not None else None
    architecture = facts.architecture if facts else None
    if name in _NAMES and architecture is not None and _NAMES[name](architecture) not in version.draft_architectures:
        message = f"a checkpoint of {architecture} is no draft for {name}."
        way_out = f"Use one that was trained for {name}, or the method that this one was made for."
        yield Refusal(f"{_PATH}.model", Reason.CONFLICTING_SETTINGS, message, way_out)
    if name.endswith("mtp") and architecture is not None and not _has_further_layers(case, architecture):
        message = f"a checkpoint of {architecture} has no layers that predict further tokens."
        yield Refusal(
            f"{_PATH}.model", Reason.CONFLICTING_SETTINGS, message, "Use the one that was made for the model."
        )
    own = case.facts.architecture if case.facts else None
    if name.endswith("mtp") and speculative.model is None and own is not None and own not in version.mtp_architectures:
        message = f"vLLM {version.version} knows no layers in {own} that predict further tokens."
        way_out = "Use ngram, or a draft that was made for the model (eagle3, draft_model)."
        yield Refusal(f"{_PATH}.method", Reason.CONFLICTING_SETTINGS, message, way_out)


def _has_further_layers(case: Case, architecture: str) -> bool:
    # Drafts for this method are classes of their own: DeepSeekMTPModel, Gemma4AssistantForCausalLM.
    return architecture in case.version.mtp_architectures or "MTP" in architecture or "Assistant" in architecture


# How vLLM names the class that it looks for, from the checkpoint's own (transformers_utils/configs/eagle.py).
_NAMES = {
    "eagle": lambda own: own if own.startswith("Eagle") else f"Eagle{own}",
    "eagle3": lambda own: own if own.startswith("Eagle3") or own.endswith("Eagle3") else f"Eagle3{own}",
    "dflash": lambda own: (
        own if own.startswith("DFlash") or own.endswith("DFlash") or own == "LiLiCorrDraftModel" else f"DFlash{own}"
    ),
}
