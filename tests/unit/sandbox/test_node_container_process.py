"""A container's output reaches its log line by line, and its end is told with its exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from builders.user_namespaces import needs_namespaces, printed
from inference_fleet.sandbox.node.container_log import ContainerLog, open_log
from inference_fleet.sandbox.node.container_process import exit_code

_LINE = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([FP]) (.*)$")

# Launches `sh -c SCRIPT`, calls the rest of argv in between, and prints the exit code.
_SCRIPT = """
import signal, sys, threading
from pathlib import Path
from inference_fleet.sandbox.node.container_log import open_log
from inference_fleet.sandbox.node.container_process import *
folder, script, action = sys.argv[1:]
Path(folder, "root").mkdir()
adopt_orphans()
codes, over = [], threading.Event()
def exited(code):
    codes.append(code)
    over.set()
order = LaunchOrder(argv=("sh", "-c", script), environment={"PATH": "/usr/bin:/bin"}, folder="", host_name="p",
    root=folder + "/root", read_only_root=False, user=0, group=0, volumes=(), kept=(), network=None, report=-1)
try:
    process = launch(order, open_log(folder, name="log"), exited)
except LaunchFailedError as error:
    sys.exit(f"failed: {error}")
exec(action)
over.wait(20)
print(*codes)
"""


def lines(path: Path) -> list[tuple[str, str, str]]:
    found = [_LINE.match(line) for line in path.read_bytes().splitlines()]
    return [tuple(part.decode() for part in line.groups()) for line in found if line]  # type: ignore[misc]


def run(folder: Path, script: str, *, action: str = "") -> str:
    return printed(_SCRIPT, str(folder), script, action).strip()


def test_lines_are_written_whole_however_they_come(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "log")
    for part in (b"one\ntw", b"o\n", b"", b"\nthree"):
        log.add("stdout", output=part)
    log.add("stderr", output=b"other\n")
    log.close()
    assert lines(tmp_path / "log") == [
        ("stdout", "F", "one"),
        ("stdout", "F", "two"),
        ("stdout", "F", ""),
        ("stderr", "F", "other"),
        ("stdout", "P", "three"),
    ]


def test_a_long_line_is_split_and_marked(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "log")
    log.add("stdout", output=b"x" * 40_000 + b"\n")
    log.close()
    found = lines(tmp_path / "log")
    assert [(mark, len(text)) for _, mark, text in found] == [("P", 16384), ("P", 16384), ("F", 7232)]


def test_a_moved_log_is_opened_anew(tmp_path: Path) -> None:
    log = open_log(str(tmp_path), name="a/log")
    log.add("stdout", output=b"old\n")
    (tmp_path / "a/log").rename(tmp_path / "a/moved")
    log.reopen()
    log.add("stdout", output=b"new\n")
    log.close()
    log.reopen()  # after the end: stays closed
    assert [text for *_, text in lines(tmp_path / "a/log")] == ["new"]


@pytest.mark.parametrize(("status", "code"), [(0, 0), (7, 7), (-9, 137), (-15, 143)])
def test_a_signal_counts_from_128(status: int, code: int) -> None:
    assert exit_code(status) == code


@needs_namespaces
class TestRealProcesses:
    def test_exit_code_and_output_of_both_streams(self, tmp_path: Path) -> None:
        assert run(tmp_path, "echo out; echo err >&2; printf rest; exit 7") == "7"
        assert sorted(lines(tmp_path / "log")) == [
            ("stderr", "F", "err"),
            ("stdout", "F", "out"),
            ("stdout", "P", "rest"),
        ]

    def test_much_output_before_the_end_is_not_lost(self, tmp_path: Path) -> None:
        assert run(tmp_path, "seq 20000") == "0"
        assert [text for *_, text in lines(tmp_path / "log")] == [str(number) for number in range(1, 20001)]

    def test_what_the_first_process_leaves_behind_ends_with_it(self, tmp_path: Path) -> None:
        # The child would hold the streams open for 600 s.
        assert run(tmp_path, "sleep 600 & exit 0") == "0"

    def test_a_handled_signal_drains(self, tmp_path: Path) -> None:
        script = "trap 'echo drained; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
        action = (
            "import time\nwhile b'ready' not in Path(folder, 'log').read_bytes(): time.sleep(0.01)\n"
            "stop(process, number=signal.SIGTERM, grace_seconds=10)"
        )
        assert run(tmp_path, script, action=action) == "5"
        assert ("stdout", "F", "drained") in lines(tmp_path / "log")

    def test_a_process_that_handles_nothing_is_killed_at_the_end_of_its_grace(self, tmp_path: Path) -> None:
        # Process 1 of a namespace ignores signals it has no handler for.
        action = "stop(process, number=signal.SIGTERM, grace_seconds=0.3)"
        assert run(tmp_path, "exec sleep 600", action=action) == "137"
