"""What a kubeconfig says by itself: its contexts and their namespaces, without asking a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, kw_only=True)
class Context:
    """One context. namespace: None where it names none."""

    name: str
    namespace: str | None
    is_current: bool


def contexts(kubeconfig: str | None) -> tuple[Context, ...]:
    """Of the named file, else of those kubectl would read; a file that cannot be read has none."""
    found: dict[str, str | None] = {}
    current = ""
    for document in _documents(kubeconfig):
        # As kubectl merges files: what the first one says holds.
        current = current or str(document.get("current-context") or "")
        entries = document.get("contexts")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping):
                inner = entry.get("context")
                namespace = inner.get("namespace") if isinstance(inner, Mapping) else None
                found.setdefault(str(entry.get("name")), str(namespace) if namespace else None)
    return tuple(
        Context(name=name, namespace=namespace, is_current=name == current) for name, namespace in found.items()
    )


def current_namespace(kubeconfig: str | None, *, context: str | None) -> str | None:
    """The namespace kubectl would work in; None if there is no such context."""
    for each in contexts(kubeconfig):
        if each.name == context if context else each.is_current:
            return each.namespace or _DEFAULT_NAMESPACE
    return None


def _documents(kubeconfig: str | None) -> Iterator[Mapping[str, Any]]:
    import yaml

    named = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    for path in [kubeconfig] if kubeconfig else named.split(os.pathsep):
        try:
            document = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8")) if path else None
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(document, Mapping):
            yield document
