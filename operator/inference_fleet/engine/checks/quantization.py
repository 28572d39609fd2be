"""Quantization of weights: known to the release, possible on the device, right for the checkpoint."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.case import Case, Finding
from inference_fleet.engine.versions import QuantizationMethod

_PATH = "engine.vllm.quantization.method"
_CONFIGURATION = "--quantization-config"
_ALLOW_DEPRECATED = "--allow-deprecated-quantization"
# vLLM's names of the activation types; a type it would choose by itself is not judged.
_ACTIVATION_TYPES = {"half": "float16", "float": "float32", "float16": "float16", "bfloat16": "bfloat16"}
_ACTIVATION_TYPES |= {"float32": "float32"}


def quantization(case: Case) -> Iterator[Finding]:
    """The method against release, platform, compute capability, activation type and checkpoint."""
    if case.engine.quantization is None:
        yield from _of_checkpoint(case)
        return
    name = case.engine.quantization.method
    method = case.version.quantization.get(name)
    if method is None:
        yield _unknown(case, name)
        return
    yield from _on_device(case, method)
    yield from _with_type(case, method)
    yield from _for_checkpoint(case, method)
    yield from _configured(case, method)
    yield from _deprecated(case, method)


def _of_checkpoint(case: Case) -> Iterator[Finding]:
    """A checkpoint that is quantized already brings its method along."""
    own = case.facts.quantization_method if case.facts else None
    method = case.version.quantization.get(own) if own else None
    if method is None:
        return
    yield from _with_type(case, method)
    for finding in _on_device(case, method):
        message = f"the checkpoint is quantized with {own}: {finding.message}"
        yield Refusal("model", finding.reason, message, "Use a class that runs it, or another checkpoint of the model.")


def _unknown(case: Case, name: str) -> Refusal:
    successor = case.version.removed_quantization.get(name)
    near = difflib.get_close_matches(name, list(case.version.quantization), n=1)
    if successor:
        way_out = f"Use {successor} instead."
    elif near:
        way_out = f"Did you mean {near[0]}?"
    else:
        way_out = f"Known are {', '.join(case.version.quantization)}."
    message = f"{name} is not a quantization method of vLLM {case.version.version}."
    return Refusal(_PATH, Reason.UNSUPPORTED_SETTING, message, way_out)


def _on_device(case: Case, method: QuantizationMethod) -> Iterator[Refusal]:
    way_out = f"What works here: {', '.join(_usable(case)) or 'no quantization'}."
    where = f"AcceleratorClass {case.accelerator_name}"
    if case.platform in method.unsupported:
        why = method.unsupported[case.platform]
        message = f"{method.method} does not run on {case.platform} ({where}): {why}."
        yield Refusal(_PATH, Reason.UNSUPPORTED_ON_ACCELERATOR, message, way_out)
    elif case.capability is not None and case.capability < method.minimum_capability:
        needed = f"{method.minimum_capability // 10}.{method.minimum_capability % 10}"
        has = case.accelerator.architecture
        message = f"{method.method} needs compute capability {needed} or newer; {where} has {has}."
        yield Refusal(_PATH, Reason.UNSUPPORTED_ON_ACCELERATOR, message, way_out)


def _usable(case: Case) -> Iterator[str]:
    for method in case.version.quantization.values():
        new_enough = case.capability is None or case.capability >= method.minimum_capability
        if new_enough and case.platform not in method.unsupported and not method.deprecated:
            yield method.method


def _with_type(case: Case, method: QuantizationMethod) -> Iterator[Finding]:
    wanted = _ACTIVATION_TYPES.get(case.engine.dtype or "")
    quantized = case.facts is not None and case.facts.quantization_method is not None
    types = method.online_activation_types if method.online and not quantized else method.activation_types
    if wanted is not None and wanted not in types:
        message = f"{case.engine.dtype} does not go with quantization {method.method}, which computes in"
        message += f" {' or '.join(types)}."
        yield Refusal("engine.vllm.dtype", Reason.CONFLICTING_SETTINGS, message, f"Set {types[0]}.")


def _for_checkpoint(case: Case, method: QuantizationMethod) -> Iterator[Finding]:
    own = case.facts.quantization_method if case.facts else None
    if own is not None and own not in method.reads and "any" not in method.reads:
        message = f"{method.method} is not how this checkpoint is quantized: {own}."
        way_out = "Leave quantization out: vLLM reads the checkpoint's."
        yield Refusal(_PATH, Reason.CONFLICTING_SETTINGS, message, way_out)
    # A shape that somebody wrote down may leave the method out; a file does not.
    if own is None and case.shape_source in ("config", "catalogue") and "unquantized" not in method.reads:
        message = f"{method.method} loads checkpoints that are quantized; this one is not."
        online = [name for name in _usable(case) if case.version.quantization[name].online and name != "online"]
        loading = f"To quantize while loading, use one of {', '.join(online)}; or use" if online else "Use"
        way_out = f"{loading} a checkpoint made with {method.method}."
        yield Refusal(_PATH, Reason.CONFLICTING_SETTINGS, message, way_out)


def _configured(case: Case, method: QuantizationMethod) -> Iterator[Finding]:
    words = [word.partition("=")[0].partition(".")[0] for word in case.engine.extra_args or ()]
    if method.method == "online" and _CONFIGURATION not in words:
        message = "online alone does not say how to quantize the weights."
        way_out = f"Add {_CONFIGURATION} with linear, moe or targets to extraArgs, or name the method: fp8_per_tensor."
        yield Refusal(_PATH, Reason.CONFLICTING_SETTINGS, message, way_out)


def _deprecated(case: Case, method: QuantizationMethod) -> Iterator[Finding]:
    if not method.deprecated:
        return
    message = f"{method.method} is deprecated in vLLM {case.version.version} and will be removed in a later release."
    if _ALLOW_DEPRECATED in (case.engine.extra_args or ()):
        yield Advice(_PATH, Reason.DEPRECATED, message)
        return
    message += " vLLM accepts it only with a flag that allows deprecated methods."
    yield Refusal(_PATH, Reason.DEPRECATED, message, f"Choose another method, or add {_ALLOW_DEPRECATED} to extraArgs.")
