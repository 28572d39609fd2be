"""The CustomResourceDefinitions as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from inference_fleet.api.crd import accelerator_class_crd, inference_deployment_crd

_HEADER = "# Generated from operator/inference_fleet/api by `make generate`; do not edit.\n"


def generate() -> dict[str, str]:
    """Both definitions, one a file, and the same as templates of the chart: Helm never upgrades what is in crds/."""
    files = {}
    for definition in (inference_deployment_crd(), accelerator_class_crd()):
        name = f"{definition['spec']['names']['plural']}.yaml"
        files[f"crds/{name}"] = _text(definition)
        files[f"charts/inference-fleet/templates/crds/{name}"] = _template(definition)
    return files


def _template(definition: Mapping[str, Any]) -> str:
    """The definition for Helm: under its switch, kept at an uninstall, nothing in it taken for a template."""
    metadata = {**definition["metadata"], "annotations": "ANNOTATIONS"}
    text = _text({**definition, "metadata": metadata}).removeprefix(_HEADER)
    assert "{{" not in text
    annotations = "{ {{- if .Values.crds.keep }}helm.sh/resource-policy: keep{{ end -}} }"
    text = text.replace("annotations: ANNOTATIONS", f"annotations: {annotations}")
    return f"{_HEADER}{{{{- if .Values.crds.install }}}}\n{text}{{{{- end }}}}\n"


# What is shorter than this in JSON stands on one line: readable, and far below the 256 KiB of an annotation.
_LINE = 700


class _Compact(yaml.SafeDumper):
    """YAML without anchors, small nodes on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_small(self, data: Mapping[str, Any]) -> yaml.Node:
        node = self.represent_dict(data)
        node.flow_style = len(json.dumps(data)) < _LINE
        return node


_Compact.add_representer(dict, _Compact.represent_small)


def _text(definition: Mapping[str, Any]) -> str:
    return _HEADER + yaml.dump(
        definition,
        Dumper=_Compact,
        sort_keys=False,
        default_flow_style=None,
        indent=1,
        width=10_000,
        allow_unicode=True,
    )
