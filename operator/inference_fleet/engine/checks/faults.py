"""Known faults of the release that these settings meet. Only the platform team can accept one."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.case import Case, Finding
from inference_fleet.engine.known_faults import KnownFault, known_faults

_VERSION_PATH = "engine.vllm.version"
_SPECULATION = "speculation:"


def faults(case: Case) -> Iterator[Finding]:
    """Each published fault that the release has and the settings meet."""
    return findings(case, known_faults())


def findings(case: Case, known: tuple[KnownFault, ...]) -> Iterator[Finding]:
    """The same against given faults."""
    for fault in known:
        path = _met(case, fault.feature) if fault.affects(case.version.version) else None
        if path is not None:
            yield _finding(case, fault, path)


def _finding(case: Case, fault: KnownFault, path: str) -> Finding:
    score = f" (CVSS {fault.score})" if fault.score is not None else ""
    message = f"vLLM {case.version.version} has {fault.advisory}{score}: {fault.what}."
    newer = f"Use vLLM {fault.fixed} or newer" if fault.fixed else "No release has a fix yet"
    others = "" if path == _VERSION_PATH else ", or do without this setting"
    if fault.advisory in (case.accelerator.accepted_risks or ()):
        accepted = f"{message} AcceleratorClass {case.accelerator_name} accepts it."
        return Advice(path, Reason.KNOWN_FAULT, accepted, f"{newer}{others}.")
    if fault.action == "warn":
        return Advice(path, Reason.KNOWN_FAULT, message, f"{newer}{others}.")
    way_out = f"{newer}{others}. The platform team can accept it in the AcceleratorClass's acceptedRisks."
    return Refusal(path, Reason.KNOWN_FAULT, message, way_out)


def _met(case: Case, feature: str) -> str | None:
    """The setting that meets a fault; None if none does."""
    if feature.startswith(_SPECULATION):
        speculative = case.engine.speculative
        used = speculative is not None and speculative.method == feature.removeprefix(_SPECULATION)
        return "engine.vllm.speculative.method" if used else None
    repository = case.intent.model.hugging_face
    met = {
        "always": _VERSION_PATH,
        "trustRemoteCode": "engine.vllm.trustRemoteCode" if case.engine.trust_remote_code else None,
        "pinnedRevision": "model.huggingFace.revision" if repository and repository.revision else None,
        "promptEmbeds": _flag(case, "--enable-prompt-embeds"),
        "kvConnector": _flag(case, "--kv-transfer-config"),
    }
    return met[feature]


def _flag(case: Case, flag: str) -> str | None:
    words = [word.partition("=")[0] for word in case.engine.extra_args or ()]
    return "engine.vllm.extraArgs" if flag in words else None
