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
# What pydantic says of these types of error explains a parser, not a field. Braces: what pydantic tells beside them.
_SENTENCES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "greater_than_equal": "must be {ge} or more",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than_equal": "must be {le} or less",
    "missing": "is missing",
    "model_type": "must be an object",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be a string (a number or a date needs quotes)",
    "too_long": "must have at most {max_length} items",
    "tuple_type": "must be a list",
}
# Form of a text, by the end of its path: a regular expression is no sentence.
_FORMS = {
    ("acceleratorClassName",): "must hold only lower-case letters, digits, dashes and dots",
    ("env", "name"): "is not one of the environment variables that may be set (see the API reference)",
    ("huggingFace", "repository"): "must be a repository of the Hub, as owner/name",
    ("image", "reference"): "must be an image with its digest, as registry/name@sha256:...",
    ("objectives", "name"): "must hold only lower-case letters, digits and dashes",
    ("s3", "uri"): "must be s3://bucket/folder",
    ("schedules", "start"): 'must be five fields of cron, such as "0 7 * * 1-5"',
    ("targetPercent",): 'must be a percentage without a sign, such as "99.5"',
    ("variants", "name"): "must hold only lower-case letters, digits and dashes",
    ("version",): 'must be a whole release in quotes, such as "0.33.0"',
}
_ABOUT_FORM = ("string_pattern_mismatch", "string_too_short", "string_type")
_PYDANTICS_BEGINNINGS = {"Input should ": "must ", "String should ": "must ", "Value error, ": ""}
# A union's members are told apart in an error's location by their types; nobody wrote these.
_UNION_MEMBERS = ("int", "str")


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
    items = error.errors(include_url=False, include_input=False)
    places = [tuple(item["loc"]) for item in items]
    # A list whose only item cannot be read is not also too short.
    told = [item for item in items if item["type"] != "too_short" or not _is_above_another(tuple(item["loc"]), places)]
    return tuple(Refusal(_path(root, item), Reason.INVALID_SPEC, sentence(item)) for item in told[:MAXIMUM_REFUSALS])


def _is_above_another(place: tuple[int | str, ...], places: Sequence[tuple[int | str, ...]]) -> bool:
    return any(len(each) > len(place) and each[: len(place)] == place for each in places)


def _path(root: str, item: ErrorDetails) -> str:
    location = [part for part in item["loc"] if part not in _UNION_MEMBERS]
    field = item.get("ctx", {}).get("field", "") if item["type"] == ERROR_TYPE else ""
    return path_text(root, location) + (f".{field}" if field else "")


def path_text(root: str, parts: Sequence[int | str]) -> str:
    """`("variants", 0, "engine")` under `spec` -> `spec.variants[0].engine`."""
    text = root
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def sentence(item: ErrorDetails) -> str:
    """What stands behind the field's path and a colon."""
    kind, told = item["type"], item.get("ctx", {})
    fields = tuple(part for part in item["loc"] if isinstance(part, str) and part not in _UNION_MEMBERS)
    if kind in _ABOUT_FORM:
        for end, form in _FORMS.items():
            if fields[-len(end) :] == end:
                return form
    if kind in ("string_too_short", "too_short"):
        least, unit = told["min_length"], "character" if kind == "string_too_short" else "item"
        return "must not be empty" if least == 1 else f"must have at least {least} {unit}s"
    if kind in _SENTENCES:
        return _SENTENCES[kind].format_map(told)
    message = item["msg"]
    for beginning, verb in _PYDANTICS_BEGINNINGS.items():
        if message.startswith(beginning):
            return verb + message.removeprefix(beginning)
    return message[0].lower() + message[1:] if message else "is not valid"
