from __future__ import annotations

import os
import select
import subprocess

import pytest

from inference_fleet.sandbox import namespaces
from inference_fleet.sandbox.namespaces import KernelSettings, NamespacesForbidden


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (KernelSettings(0, 1, None), "user.max_user_namespaces=15000"),
        (KernelSettings(15000, 0, None), "kernel.unprivileged_userns_clone=1"),
        (KernelSettings(15000, None, 1), "kernel.apparmor_restrict_unprivileged_userns=0"),
        (KernelSettings(15000, 1, 0), "--security-opt systempaths=unconfined"),
        (KernelSettings(None, None, None), "seccomp=unconfined"),
    ],
)
def test_advice_names_the_setting_in_the_way(settings: KernelSettings, expected: str) -> None:
    assert expected in namespaces.advice(settings)


def test_forbidden_namespaces_are_told_with_reason_and_advice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    unshare = os.path.join(tmp_path, "unshare")
    with open(unshare, "w") as file:
        file.write("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    os.chmod(unshare, 0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NamespacesForbidden, match=r"Operation not permitted\n."):
        namespaces.check_namespaces()


def test_a_missing_unshare_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NamespacesForbidden, match="'unshare' is missing"):
        namespaces.check_namespaces()


def test_a_process_is_known_by_id_and_start_until_it_ends() -> None:
    assert namespaces.start_ticks(os.getpid()) == namespaces.start_ticks(os.getpid())
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert namespaces.start_ticks(child.pid) is None  # a zombie has ended
    assert namespaces.start_ticks(child.pid) is None


def test_ids_inside_are_told_apart_from_ids_outside() -> None:
    command = namespaces.unshare_command(("sh", "-c", "sleep 60 & echo $!; wait"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as outer:
        try:
            assert outer.stdout is not None
            sleeper = int(outer.stdout.readline())
            init = namespaces.first_inside(outer.pid)
            assert init is not None
            ids = namespaces.ids_outside(init)
            assert ids[1] == init
            assert ids[sleeper] != sleeper
            with open(f"/proc/{ids[sleeper]}/cmdline") as file:
                assert file.read().startswith("sleep")
        finally:
            outer.kill()
    assert namespaces.start_ticks(ids[sleeper]) is None or _ends(ids[sleeper])


def _ends(pid: int) -> bool:
    """Wait until a process that is not our child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)


def test_nothing_is_known_of_a_namespace_that_is_gone() -> None:
    assert namespaces.ids_outside(2**22 + 1) == {}
    assert namespaces.first_inside(2**22 + 1) is None


def test_commands_run_inside_in_the_callers_folder() -> None:
    command = namespaces.enter_command(7, ("kubectl", "get", "pods"), folder="/work dir")
    assert command[:3] == ("nsenter", "--target", "7")
    assert command[-5:] == ("env", "--chdir=/work dir", "kubectl", "get", "pods")
