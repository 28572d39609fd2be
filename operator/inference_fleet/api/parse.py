"""Reading objects: never an exception, always either the spec or what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.conditions import Reason
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.intent import plain
from inference_fleet.api.pod_settings import PodSettings
from inference_fleet.api.refusal import Refusal
from inference_fleet.api.schema_rules import ERROR_TYPE

MAXIMUM_REFUSALS = 20
# What pydantic says of these types of error explains a parser, not a field.
_SENTENCES = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "missing": "is missing",
}
_PYDANTICS_BEGINNING = "Input should "


def parse_inference_deployment(obj: Mapping[str, Any]) -> InferenceDeploymentSpec | tuple[Refusal, ...]:
    """The spec of an InferenceDeployment, or why it cannot be read.

    The API server has checked most of this already; an object may be older than a rule, so it is checked again.
    """
    spec = obj.get("spec") if isinstance(obj, Mapping) else None
    if not isinstance(spec, Mapping):
        return (Refusal("spec", Reason.INVALID_SPEC, "is missing or not an object"),)
    try:
        return InferenceDeploymentSpec.model_validate(spec)
    except (ValidationError, RecursionError) as error:
        return _refusals(error, "spec")


def parse_accelerator_class(obj: Mapping[str, Any]) -> AcceleratorClassSpec | tuple[Refusal, ...]:
    """The spec of an AcceleratorClass, or why it cannot be read."""
    spec = obj.get("spec") if isinstance(obj, Mapping) else None
    if not isinstance(spec, Mapping):
        return (Refusal("spec", Reason.INVALID_SPEC, "is missing or not an object"),)
    try:
        return AcceleratorClassSpec.model_validate(spec)
    except (ValidationError, RecursionError) as error:
        return _refusals(error, "spec")


def merged_refusals(pod: PodSettings | None, *, path: str) -> tuple[Refusal, ...]:
    """What pod settings contradict only after a variant's were laid over the common ones."""
    if pod is None:
        return ()
    try:
        PodSettings.model_validate(plain(pod))
    except ValidationError as error:
        return _refusals(error, path)
    return ()


def _refusals(error: ValidationError | RecursionError, root: str) -> tuple[Refusal, ...]:
    if isinstance(error, RecursionError):
        return (Refusal(root, Reason.INVALID_SPEC, "is nested too deeply"),)
    return tuple(
        Refusal(_path(root, item), Reason.INVALID_SPEC, _sentence(item))
        for item in error.errors(include_url=False, include_input=False)[:MAXIMUM_REFUSALS]
    )


def _path(root: str, item: ErrorDetails) -> str:
    # A union's members are told apart in the location by their types; nobody wrote these.
    location = [part for part in item["loc"] if part not in ("int", "str")]
    field = item.get("ctx", {}).get("field", "") if item["type"] == ERROR_TYPE else ""
    return path_text(root, location) + (f".{field}" if field else "")


def path_text(root: str, parts: Sequence[int | str]) -> str:
    """`("variants", 0, "engine")` under `spec` -> `spec.variants[0].engine`."""
    text = root
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def _sentence(item: ErrorDetails) -> str:
    """What stands behind the field's path and a colon."""
    if item["type"] in _SENTENCES:
        return _SENTENCES[item["type"]]
    message = item["msg"]
    if message.startswith(_PYDANTICS_BEGINNING):
        return f"must {message.removeprefix(_PYDANTICS_BEGINNING)}"
    return message[0].lower() + message[1:] if message else "is not valid"
