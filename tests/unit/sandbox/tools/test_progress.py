"""Progress is one line per subject and ten seconds where lines cannot be replaced, and nothing where nobody looks."""

from __future__ import annotations

import io

import pytest

from inference_fleet.sandbox.tools.progress import plain, shown


def test_lines_are_few() -> None:
    stream, times = io.StringIO(), iter([0.0, 1.0, 9.9, 10.0, 10.1])
    show = plain(stream, clock=lambda: next(times))
    show("etcd 3.7.3: compiling a", 0.1)
    show("etcd 3.7.3: compiling b", 0.2)
    show("etcd 3.7.3: compiling c", 0.3)
    show("etcd 3.7.3: compiling d", 0.4)
    show("kubectl 1.37.1: resolving", None)
    assert stream.getvalue().splitlines() == [
        "etcd 3.7.3: compiling a (10%)",
        "etcd 3.7.3: compiling d (40%)",
        "kubectl 1.37.1: resolving",
    ]


def test_a_terminal_gets_a_bar_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with shown(stream) as show:
        show("etcd 3.7.3: compiling a", 0.5)
        show("etcd 3.7.3: linking", None)
    assert "etcd 3.7.3: linking" in stream.getvalue()


def test_a_pipe_gets_lines() -> None:
    stream = io.StringIO()
    with shown(stream) as show:
        show("etcd 3.7.3: compiling a", 0.5)
    assert stream.getvalue() == "etcd 3.7.3: compiling a (50%)\n"
