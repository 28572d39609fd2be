"""Fields of a manifest that an API server prunes or refuses although reading an object would take them.

Pruned, a misspelt field is noticed by nobody; a number in quotes is a number for the models, a string for the server.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from types import EllipsisType, NoneType
from typing import Any, get_args

from pydantic import BaseModel

from inference_fleet.api.conditions import Reason
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.refusal import Refusal

_NEAR_ENOUGH = 0.6
_NUMBER_OR_SWITCH = re.compile(r"-?\d+|true|false")


def field_faults(spec: object, *, model: type[BaseModel] = InferenceDeploymentSpec) -> tuple[Refusal, ...]:
    """One refusal for each unknown or mistyped field, the unknown ones with the nearest that there is.

    model: what the spec should be. What is neither is left to the parser.
    """
    return tuple(_faults(model, spec, path="spec"))


def _faults(model: type[BaseModel], value: object, *, path: str) -> Iterator[Refusal]:
    if not isinstance(value, Mapping):
        return
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for key, each in value.items():
        here = f"{path}.{key}"
        if key not in fields:
            yield _unknown(here, key, known=tuple(fields))
            continue
        inner = _model_in(fields[key])
        items = enumerate(each) if isinstance(each, Sequence) and not isinstance(each, str) else ()
        for place, item in [(here, each), *((f"{here}[{index}]", item) for index, item in items)]:
            if inner is not None:
                yield from _faults(inner, item, path=place)
            else:
                yield from _mistyped(_plain_types(fields[key]), item, path=place)


def _unknown(path: str, key: object, *, known: Sequence[str]) -> Refusal:
    word = str(key)
    near = difflib.get_close_matches(word, known, n=1, cutoff=_NEAR_ENOUGH)
    # `dtype` for kvCacheDtype.
    near = near or [name for name in known if word.casefold() in name.casefold()][:1]
    way_out = f"Did you mean {near[0]}?" if near else f"Here may stand: {', '.join(sorted(known))}."
    return Refusal(path, Reason.INVALID_SPEC, "is not a field of this API.", way_out)


def _mistyped(types: frozenset[Any], value: object, *, path: str) -> Iterator[Refusal]:
    quoted = isinstance(value, str) and _NUMBER_OR_SWITCH.fullmatch(value)
    unquoted = ", without quotes" if quoted else ""
    if types == {int} and isinstance(value, str | bool):
        yield Refusal(path, Reason.INVALID_SPEC, f"must be a whole number{unquoted}.")
    elif types == {bool} and isinstance(value, str | int) and not isinstance(value, bool):
        yield Refusal(path, Reason.INVALID_SPEC, f"must be true or false{unquoted}.")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of a field, of a list's items or of an optional one; None for plain values and free-form objects."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_model_in(part) for part in get_args(annotation))
    return next((model for model in found if model is not None), None)


def _plain_types(annotation: Any) -> frozenset[Any]:
    """The types that an annotation is made of: {int} for an optional whole number, {int, str} for either."""
    parts = get_args(annotation)
    if not parts:
        return frozenset({annotation} if isinstance(annotation, type) else ()) - {NoneType, EllipsisType}
    return frozenset().union(*(_plain_types(part) for part in parts))
