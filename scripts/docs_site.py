"""What mkdocs asks while it builds the site (mkdocs.yml: hooks): the order of pages, and links out of docs/."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Folders in the order in which a reader meets them.
SECTIONS = {
    "tutorials": "Tutorials",
    "how-to": "How to",
    "explanation": "Explanation",
    "reference": "Reference",
    "runbooks": "Runbooks",
}
# Pages in the order in which a reader needs them; a page that is not named here comes after them, by its heading.
FIRST_PAGES = {
    "tutorials": ("first-model", "on-your-cluster"),
    "how-to": (
        "install",
        "scrape-engines",
        "monitor",
        "add-an-accelerator",
        "add-a-model",
        "when-it-does-not-start",
        "serve-private-models",
        "share-weights",
        "air-gapped",
        "set-objectives",
        "batch-more",
        "choose-quantization",
        "use-speculation",
        "roll-out-safely",
        "use-a-gateway",
        "gitops",
        "use-karpenter-and-kueue",
        "limit-tenants",
        "migrate",
        "upgrade-and-uninstall",
    ),
    "explanation": ("architecture", "rollout", "scaling", "scaling-parts", "memory", "speed"),
    "reference": ("api", "conditions", "events", "engine-arguments", "command-line"),
}
_LINK = re.compile(r"(?<=\]\()(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")


def on_config(config: Any) -> Any:
    """List all pages: sections in our order, pages by their headings."""
    docs = Path(config.docs_dir)
    listed = [{title: _pages(docs, docs / folder)} for folder, title in SECTIONS.items()]
    config.nav = [{"Home": "index.md"}, *listed]
    return config


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Links out of docs/ become links to the repository; those that lead nowhere stay and are warned of."""
    here = join("docs", dirname(page.file.src_uri))

    def outward(match: re.Match[str]) -> str:
        target, anchor = match["target"], match["anchor"] or ""
        path = normpath(join(here, target))
        if ":" in target or path.startswith("docs/") or not (ROOT / path).exists():
            return match[0]
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{config.repo_url.rstrip('/')}/{kind}/main/{path}{anchor}"

    return _LINK.sub(outward, markdown)


def _pages(docs: Path, folder: Path) -> list[Any]:
    """The pages of a folder in the order of a reader, then by heading; then its folders."""
    first = FIRST_PAGES.get(folder.name, ())
    places = {name: place for place, name in enumerate(first)}
    found = sorted(folder.glob("*.md"), key=lambda path: (places.get(path.stem, len(first)), _heading(path), path.name))
    below = [
        {path.name.capitalize(): _pages(docs, path)}
        for path in sorted(folder.iterdir())
        if path.is_dir() and any(path.glob("*.md"))
    ]
    return [{_heading(path): str(path.relative_to(docs))} for path in found] + below


def _heading(path: Path) -> str:
    found = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else path.stem
