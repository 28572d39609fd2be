"""Fields that a manifest has and the API does not: an API server prunes them, so that nobody notices a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from inference_fleet.api.conditions import Reason
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.refusal import Refusal

_NEAR_ENOUGH = 0.6


def unknown_fields(spec: object) -> tuple[Refusal, ...]:
    """One refusal for each, with the nearest field that there is. Values that are no objects are left to the parser."""
    return tuple(_unknown(InferenceDeploymentSpec, spec, path="spec"))


def _unknown(model: type[BaseModel], value: object, *, path: str) -> Iterator[Refusal]:
    if not isinstance(value, Mapping):
        return
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for key, each in value.items():
        if key not in fields:
            yield _refusal(f"{path}.{key}", key, known=tuple(fields))
            continue
        inner = _model_in(fields[key])
        if inner is None:
            continue
        if isinstance(each, Mapping):
            yield from _unknown(inner, each, path=f"{path}.{key}")
        elif isinstance(each, Sequence) and not isinstance(each, str):
            for index, item in enumerate(each):
                yield from _unknown(inner, item, path=f"{path}.{key}[{index}]")


def _refusal(path: str, key: object, *, known: Sequence[str]) -> Refusal:
    word = str(key)
    near = difflib.get_close_matches(word, known, n=1, cutoff=_NEAR_ENOUGH)
    # `dtype` for kvCacheDtype.
    near = near or [name for name in known if word.casefold() in name.casefold()][:1]
    way_out = f"Did you mean {near[0]}?" if near else f"Here may stand: {', '.join(sorted(known))}."
    return Refusal(path, Reason.INVALID_SPEC, "is not a field of this API.", way_out)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of a field, of a list's items or of an optional one; None for plain values and free-form objects."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_model_in(part) for part in get_args(annotation))
    return next((model for model in found if model is not None), None)
