from __future__ import annotations

from pathlib import Path

import pytest

from inference_fleet.sandbox.state import (
    Outside,
    ProcessState,
    SandboxState,
    Settings,
    StateFolder,
    UnusableState,
    state_folder,
)


def test_the_folder_follows_the_users_state_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert state_folder("one").path == Path("/s/inference-fleet/sandbox/one")
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "/h")
    assert state_folder("one").path == Path("/h/.local/state/inference-fleet/sandbox/one")


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "..", "a" * 21])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UnusableState, match="no name for a sandbox"):
        state_folder(name)


def test_a_place_too_deep_for_sockets_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/" + "x" * 60)
    with pytest.raises(UnusableState, match=r"25 characters too long .* XDG_STATE_HOME"):
        state_folder("default")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    settings = Settings(name="one", apiserver_args=("--v=2",), audit=True)
    state = SandboxState("Ready", "etcd", 1.0, (ProcessState("etcd", 7, True),), ("node-1",))
    outside = Outside(pid=1, start_ticks=2, api_port=3, prometheus_port=4)
    folder.write_settings(settings)
    folder.write_state(state)
    folder.write_outside(outside)
    assert (folder.read_settings(), folder.read_state(), folder.read_outside()) == (settings, state, outside)


def test_nothing_written_reads_as_none(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "absent")
    assert (folder.read_settings(), folder.read_state(), folder.read_outside()) == (None, None, None)
