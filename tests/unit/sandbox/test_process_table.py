from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inference_fleet.sandbox import process_table
from inference_fleet.sandbox.daemon import AnswersAt, Daemon, FileAppears
from inference_fleet.sandbox.process_table import ProcessTable, StartFailed

_SERVES = "import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler).serve_forever()"


@pytest.fixture
async def table(tmp_path: Path) -> AsyncIterator[ProcessTable]:
    async with ProcessTable(tmp_path, changed=lambda: None) as table:
        yield table


def _shell(name: str, script: str, *, file: Path) -> Daemon:
    return Daemon(name, ("sh", "-c", script), FileAppears(file))


async def test_a_program_is_ready_when_its_file_appears(table: ProcessTable, tmp_path: Path) -> None:
    file = tmp_path / "ready"
    await table.start(_shell("one", f"echo begun; touch {file}; exec sleep 60", file=file))
    (state,) = table.states
    assert (state.name, state.ready) == ("one", True)
    assert (tmp_path / "one.log").read_text() == "begun\n"


async def test_a_program_is_ready_when_it_answers(table: ProcessTable, unused_tcp_port: int) -> None:
    argv = (sys.executable, "-c", _SERVES.format(port=unused_tcp_port))
    await table.start(Daemon("web", argv, AnswersAt(f"http://127.0.0.1:{unused_tcp_port}/")))
    assert [state.ready for state in table.states] == [True]


async def test_a_program_that_ends_is_told_with_its_last_words(table: ProcessTable, tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match=r"one ended with status 3\n    no such disk\n    \(from .*one.log\)"):
        await table.start(_shell("one", "echo no such disk >&2; exit 3", file=tmp_path / "never"))
    assert [state.ready for state in table.states] == [False]


async def test_a_program_that_never_gets_ready_is_given_up(
    table: ProcessTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_table, "START_SECONDS", 0.2)
    with pytest.raises(StartFailed, match="one was not ready after 0 s"):
        await table.start(_shell("one", "exec sleep 60", file=tmp_path / "never"))


async def test_a_program_that_ends_later_is_no_longer_ready(tmp_path: Path) -> None:
    changed = asyncio.Event()
    ready, leave = tmp_path / "ready", tmp_path / "leave"
    async with ProcessTable(tmp_path, changed=changed.set) as table:
        script = f"touch {ready}; while [ ! -e {leave} ]; do sleep 0.02; done"
        await table.start(_shell("one", script, file=ready))
        changed.clear()
        leave.touch()
        await asyncio.wait_for(changed.wait(), 10)
        assert [state.ready for state in table.states] == [False]


async def test_all_programs_end_with_the_table(tmp_path: Path) -> None:
    async with ProcessTable(tmp_path, changed=lambda: None) as table:
        for name in ("one", "two"):
            await table.start(_shell(name, f"touch {tmp_path / name}; exec sleep 60", file=tmp_path / name))
        ids = [state.pid for state in table.states]
        assert all(Path(f"/proc/{pid}").exists() for pid in ids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in ids)
