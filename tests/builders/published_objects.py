"""Every object of our kinds that the repository shows to people: manifests, README and pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
_KINDS = ("InferenceDeployment", "AcceleratorClass")
_BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def published_objects() -> list[tuple[str, dict[str, Any]]]:
    """Pairs of where it stands and the object; patches and parts are left out."""
    found = []
    for path in [*ROOT.glob("manifests/**/*.yaml"), *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        if _is_patch(path):
            continue
        text = path.read_text(encoding="utf-8")
        parts = _BLOCK.findall(text) if path.suffix == ".md" else [text]
        name = str(path.relative_to(ROOT))
        found += [(name, obj) for part in parts for obj in _objects(part)]
    return sorted(found, key=lambda pair: (pair[0], str(pair[1]["metadata"])))


def _is_patch(path: Path) -> bool:
    """Whether the kustomization beside it lays this file over something else."""
    beside = path.parent / "kustomization.yaml"
    if not beside.exists():
        return False
    patches = yaml.safe_load(beside.read_text(encoding="utf-8")).get("patches", ())
    return path.name in [patch.get("path") for patch in patches]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    for obj in yaml.safe_load_all(text):
        if isinstance(obj, dict) and obj.get("kind") in _KINDS and "spec" in obj and "apiVersion" in obj:
            yield obj
