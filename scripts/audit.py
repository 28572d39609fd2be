"""Known vulnerabilities of the locked production packages, by pip-audit; what could not be asked is said aloud.

Exit status 1 if one is known. Packages without an answer (no way to the service) are a visible SKIPPED, not a success.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PIP_AUDIT = "pip-audit==2.10.1"
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Verdict:
    """found: `package version: identifiers`. asked, unanswered: numbers of packages."""

    found: tuple[str, ...]
    asked: int
    unanswered: int

    @property
    def text(self) -> str:
        """What is printed."""
        lines = [f"audit: {line}" for line in self.found]
        if self.unanswered:
            number = f"{self.unanswered} of {self.asked} packages"
            lines.append(f"audit: SKIPPED for {number}: the vulnerability service gave no answer")
        if not lines:
            lines.append(f"audit: no known vulnerability in {self.asked} packages")
        return "\n".join(lines)


def verdict(report: Mapping[str, Any]) -> Verdict:
    """Read pip-audit's JSON."""
    packages = report["dependencies"]
    found = tuple(
        f"{each['name']} {each['version']}: {', '.join(vulnerability['id'] for vulnerability in each['vulns'])}"
        for each in packages
        if each.get("vulns")
    )
    return Verdict(found, len(packages), sum("skip_reason" in each for each in packages))


def main(argv: list[str]) -> int:
    if len(argv) != 1:
        print("usage: audit.py UV", file=sys.stderr)
        return 64
    (uv,) = argv
    with tempfile.TemporaryDirectory() as folder:
        locked = Path(folder) / "requirements.txt"
        export = ("export", "--quiet", "--locked", "--no-dev", "--no-emit-project", "--output-file", str(locked))
        subprocess.run((uv, *export), cwd=ROOT, check=True)
        ask = (
            "--requirement",
            str(locked),
            "--require-hashes",
            "--disable-pip",
            "--progress-spinner=off",
            "--format=json",
        )
        done = subprocess.run(
            (uv, "tool", "run", "--from", PIP_AUDIT, "pip-audit", *ask), capture_output=True, text=True, check=False
        )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        print(f"audit: SKIPPED: pip-audit gave no report: {done.stderr.strip()[-300:]}")
        return 0
    result = verdict(report)
    print(result.text)
    return 1 if result.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
