"""The CustomResourceDefinitions as files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from inference_fleet.api.crd import accelerator_class_crd, inference_deployment_crd

_HEADER = "# Generated from operator/inference_fleet/api by `make generate`; do not edit.\n"


def generate() -> dict[str, str]:
    """Both definitions, one a file."""
    return {
        "crds/inferencedeployments.yaml": _text(inference_deployment_crd()),
        "crds/acceleratorclasses.yaml": _text(accelerator_class_crd()),
    }


class _Plain(yaml.SafeDumper):
    """YAML without anchors: every reader understands it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(definition: Mapping[str, Any]) -> str:
    # A leaf of the schema is one line, which keeps the file readable and far below the 256 KiB of an annotation.
    return _HEADER + yaml.dump(
        definition, Dumper=_Plain, sort_keys=False, default_flow_style=None, indent=1, width=10_000, allow_unicode=True
    )
