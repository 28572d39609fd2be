"""Take the plots out of a demonstration's report: the picture that the README shows.

python scripts/demo_picture.py [REPORT.html [PICTURE.svg]]
"""

from __future__ import annotations

import sys
from pathlib import Path


def picture(report: str) -> str:
    """The first SVG of a report. Raises ValueError where there is none."""
    try:
        start = report.index("<svg")
        return report[start : report.index("</svg>", start)] + "</svg>\n"
    except ValueError:
        raise ValueError("the report holds no picture: run `make demo` first") from None


def main(arguments: list[str]) -> None:
    """Read the report, write the picture."""
    report = Path(arguments[0] if arguments else "demo-report.html")
    target = Path(arguments[1] if len(arguments) > 1 else "docs/images/demo.svg")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(picture(report.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
