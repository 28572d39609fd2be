"""What a container's process sees of the machine, and what it cannot do to it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from builders.user_namespaces import PACKAGES, needs_namespaces, run_script
from inference_fleet.sandbox.node.launcher import LaunchOrder, VolumeMount
from inference_fleet.sandbox.node.ownership import filter_program

# Waits, as the runtime does, for the orphaned container's end. Reads the order's text from standard input.
_RUNTIME = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
read, write = os.pipe()
order = sys.stdin.read().replace('"report": -1', f'"report": {write}')
subprocess.run([sys.executable, "-m", "inference_fleet.sandbox.node.launcher"], input=order.encode(), pass_fds=[write])
os.close(write)
report = b"".join(iter(lambda: os.read(read, 999), b"")).decode()
pid, _, failure = report.partition("\\n")
if failure:
    sys.exit(failure)
os.waitpid(int(pid), 0)
"""


@pytest.fixture
def order(tmp_path: Path) -> LaunchOrder:
    root = tmp_path / "root"
    root.mkdir()
    return LaunchOrder(
        argv=("true",),
        environment={"PATH": os.environ["PATH"]},
        folder="",
        host_name="pod-1",
        root=str(root),
        read_only_root=False,
        user=65532,
        group=65532,
        volumes=(),
        kept=(),
        network=None,
        report=-1,
    )


def run(order: LaunchOrder, script: str = "") -> subprocess.CompletedProcess[str]:
    if script:
        order = replace(order, argv=("sh", "-c", script))
    return run_script(_RUNTIME, entry=order.to_json())


def test_an_order_survives_its_text(order: LaunchOrder) -> None:
    full = replace(order, volumes=(VolumeMount("/a", "/b", read_only=True),), kept=("/c",), network=7)
    assert LaunchOrder.from_json(full.to_json()) == full


def test_the_filter_ends_every_named_call_in_success() -> None:
    program = filter_program((92, 93))
    lines = [program[start : start + 8] for start in range(0, len(program), 8)]
    assert len(lines) == 5
    # The first comparison jumps 2 lines (the other comparison and the allowing return), the second 1.
    assert [line[2] for line in lines[1:3]] == [2, 1]
    assert lines[4] == bytes((6, 0, 0, 0, 0, 0, 5, 0))


@needs_namespaces
def test_a_container_is_its_user_and_process_one_on_its_own_host(order: LaunchOrder) -> None:
    done = run(order, "id -u; echo $$; hostname; readlink /proc/self/ns/pid >/dev/null && ls -d /proc/[0-9]* | head -1")
    assert done.stdout.split() == ["65532", "1", "pod-1", "/proc/1"], done.stderr


@needs_namespaces
@pytest.mark.parametrize("path", ["/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/panic"])
def test_kernel_settings_of_the_machine_cannot_be_written(order: LaunchOrder, path: str) -> None:
    # Opened, not written: where the protection failed, the test must not be what changes the machine.
    done = run(order, f"exec 3>>{path} && echo opened")
    assert "opened" not in done.stdout
    assert "Read-only file system" in done.stderr


@needs_namespaces
def test_the_machines_files_cannot_be_written(order: LaunchOrder) -> None:
    target = PACKAGES / "written-by-a-container"
    # Kept: a checkout below /tmp would be hidden by the container's own, not protected.
    done = run(replace(order, kept=(str(PACKAGES),)), f"touch {target}")
    assert "Read-only file system" in done.stderr
    assert not target.exists()


@needs_namespaces
def test_a_volume_can_be_written_unless_it_is_read_only(order: LaunchOrder, tmp_path: Path) -> None:
    for name in ("open", "inner", "shut"):
        (tmp_path / name).mkdir()
    volumes = (
        VolumeMount(str(tmp_path / "shut"), "/data/open/shut", read_only=True),
        VolumeMount(str(tmp_path / "open"), "/data/open", read_only=False),
        VolumeMount(str(tmp_path / "inner"), "/data/open/shut/inner", read_only=False),
    )
    script = "cd /data/open; echo 1 > a; echo 2 > shut/inner/b; echo 3 > shut/c"
    done = run(replace(order, volumes=volumes, read_only_root=True), script)
    assert "shut/c" in done.stderr
    assert (tmp_path / "open/a").read_text() == "1\n"
    assert (tmp_path / "inner/b").read_text() == "2\n"
    assert not (tmp_path / "shut/c").exists()


@needs_namespaces
def test_scratch_space_is_the_containers_own_unless_its_root_is_read_only(order: LaunchOrder) -> None:
    script = "echo 1 > /tmp/of-a-container && cat /tmp/of-a-container"
    assert run(order, script).stdout == "1\n"
    assert not Path("/tmp/of-a-container").exists()
    assert "Read-only file system" in run(replace(order, read_only_root=True), script).stderr


@needs_namespaces
def test_shared_memory_is_64_mebibytes_unless_a_volume_lies_there(order: LaunchOrder, tmp_path: Path) -> None:
    size = "df --output=size -B1 /dev/shm | tail -1"
    assert int(run(order, size).stdout) == 64 * 2**20
    (tmp_path / "memory").mkdir()
    volume = VolumeMount(str(tmp_path / "memory"), "/dev/shm", read_only=False)
    done = run(replace(order, volumes=(volume,)), f"echo 1 > /dev/shm/x; {size}")
    assert (tmp_path / "memory/x").read_text() == "1\n", done.stderr


@needs_namespaces
def test_the_machines_devices_are_not_there(order: LaunchOrder) -> None:
    done = run(order, "ls /dev; head -c 1 /dev/urandom | wc -c; echo x > /dev/null; echo said > /dev/stdout")
    *names, count, said = done.stdout.split()
    assert set(names) <= {
        *("null", "zero", "full", "random", "urandom", "tty", "shm", "fd", "stdin", "stdout", "stderr")
    }
    assert (count, said) == ("1", "said"), done.stderr


@needs_namespaces
def test_what_the_program_needs_stays_visible_in_scratch_space(order: LaunchOrder, tmp_path: Path) -> None:
    needed = tmp_path / "needed"
    needed.mkdir()
    (needed / "file").write_text("here")
    shown = run(replace(order, kept=(str(needed),)), f"cat {needed}/file; echo >> {needed}/file")
    assert shown.stdout == "here"
    assert "Read-only" in shown.stderr


@needs_namespaces
def test_what_the_program_needs_is_there_below_a_volume_of_the_pod_too(order: LaunchOrder, tmp_path: Path) -> None:
    # The operator's pod has a volume at /tmp; a checkout may lie below it.
    needed, scratch = tmp_path / "needed", tmp_path / "scratch"
    for folder in (needed, scratch):
        folder.mkdir()
    (needed / "file").write_text("here")
    parent = str(tmp_path.parent)
    if not parent.startswith("/tmp/"):
        pytest.skip("temporary files lie elsewhere")
    volumes = (VolumeMount(str(scratch), parent, read_only=False),)
    shown = run(
        replace(order, kept=(str(needed),), volumes=volumes), f"cat {needed}/file; echo 1 > {parent}/of-the-pod"
    )
    assert shown.stdout == "here", shown.stderr
    assert (scratch / "of-the-pod").read_text() == "1\n"


@needs_namespaces
def test_a_program_that_is_not_there_is_reported(order: LaunchOrder) -> None:
    done = run(replace(order, argv=("no-such-program",)))
    assert done.returncode == 1
    assert "no-such-program: No such file or directory" in done.stderr


@needs_namespaces
def test_a_volume_that_is_not_there_is_reported(order: LaunchOrder) -> None:
    done = run(replace(order, volumes=(VolumeMount("/no-such-volume", "/data", read_only=False),)))
    assert "No such file" in done.stderr
