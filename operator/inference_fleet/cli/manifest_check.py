"""What kubectl or the API server refuses of a manifest before any operator sees it.

Commands that need no cluster say it too: who checks a file in a pipeline wants to know before it is applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from inference_fleet.api import names
from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.conditions import Reason
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.manifest_fields import field_faults
from inference_fleet.api.refusal import Refusal

Document = Mapping[str, Any]

# As the definition's rule for names has it.
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def manifest_faults(deployment: Document, *, accelerator_classes: Mapping[str, Document]) -> tuple[Refusal, ...]:
    """Of an InferenceDeployment and the classes that it names: versions, name, unknown fields, numbers in quotes."""
    spec = deployment.get("spec")
    fields = field_faults(spec, model=InferenceDeploymentSpec)
    return (*_version(deployment), *_name(deployment), *fields, *_of_classes(spec, accelerator_classes))


def with_faults(faults: tuple[Refusal, ...], refusals: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
    """Both, with one refusal where both speak of the same field."""
    paths = {fault.path for fault in faults}
    return (*faults, *(refusal for refusal in refusals if refusal.path not in paths))


def _of_classes(spec: object, accelerator_classes: Mapping[str, Document]) -> Iterator[Refusal]:
    variants = spec.get("variants") if isinstance(spec, Mapping) else None
    for index, variant in enumerate(variants if isinstance(variants, list) else ()):
        name = variant.get("acceleratorClassName") if isinstance(variant, Mapping) else None
        found = accelerator_classes.get(name) if isinstance(name, str) else None
        for fault in _class_faults(found) if found is not None else ():
            message = f"AcceleratorClass {name}: {fault.path} {fault.message}"
            path = f"spec.variants[{index}].acceleratorClassName"
            yield Refusal(path, Reason.ACCELERATOR_CLASS_INVALID, message, fault.suggestion)


def _class_faults(document: Document) -> tuple[Refusal, ...]:
    return (*_version(document), *field_faults(document.get("spec"), model=AcceleratorClassSpec))


def _version(document: Document) -> Iterator[Refusal]:
    given = document.get("apiVersion")
    if given is None:
        yield Refusal("apiVersion", Reason.INVALID_SPEC, "is missing.", f"Set {names.API_VERSION}.")
    elif given != names.API_VERSION:
        message = f"{given} is not a version that this operator has."
        yield Refusal("apiVersion", Reason.INVALID_SPEC, message, f"Set {names.API_VERSION}.")


def _name(document: Document) -> Iterator[Refusal]:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not name:
        yield Refusal("metadata.name", Reason.INVALID_SPEC, "is missing.")
    elif not isinstance(name, str) or len(name) > names.MAXIMUM_NAME_LENGTH or not _NAME.fullmatch(name):
        message = f"{name} is not a name for an InferenceDeployment."
        way_out = (
            f"Use at most {names.MAXIMUM_NAME_LENGTH} lower-case letters, digits and dashes, with a letter first:"
            " Services and pods are named after it."
        )
        yield Refusal("metadata.name", Reason.INVALID_SPEC, message, way_out)
