"""Words of a drawn picture stay in their boxes, in the wide letters that browsers without other fonts use."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from builders.pages import ROOT

PICTURE = ROOT / "docs/images/architecture.svg"
# Mean width of a letter of DejaVu Sans by its size, for text as it is here.
WIDTH = 0.53
SVG = "{http://www.w3.org/2000/svg}"


def test_words_end_before_the_edge_of_their_box() -> None:
    root = ElementTree.fromstring(PICTURE.read_text(encoding="utf-8"))
    sizes = {
        name: float(size) for name, size in re.findall(r"\.(\w+)\{[^}]*font-size:([\d.]+)px", "".join(root.itertext()))
    }
    boxes = [
        tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}rect")
        if "class" in box.attrib
    ]
    looked_at = 0
    for text in root.iter(f"{SVG}text"):
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        around = [(w, left + w) for left, top, w, h in boxes if left < x < left + w and top < y < top + h]
        if not around:
            continue
        looked_at += 1
        _, edge = min(around)
        words = text.text or ""
        size = sizes.get(text.attrib["class"], 14.0)
        assert x + WIDTH * size * len(words) <= edge, words
    assert looked_at > 20
