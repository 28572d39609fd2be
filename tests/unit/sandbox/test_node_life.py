"""A node starts its programs, keeps them running, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from builders.user_namespaces import NAMESPACES, PACKAGES, needs_namespaces
from inference_fleet.sandbox.tools.cache import cache_folder, family_folder
from inference_fleet.sandbox.tools.catalog import catalog

pytestmark = needs_namespaces

# The node's parent is a shell of its own, so that it can be killed apart from the namespaces' first process.
_SCRIPT = """
ip link set lo up && ip address add 10.244.0.1/32 dev lo
sh -c '"$@"; exit $?' parent "$@"
status=$?
[ -e "$LINGER" ] && sleep 20
exit $status
"""
# In the kubelet's place: says that it started, shows its socket, and stays.
_STAYS = """#!/bin/sh
echo started >> "$STARTS"
mkdir -p /var/lib/kubelet/device-plugins
touch /var/lib/kubelet/device-plugins/kubelet.sock
exec tail -f "$STARTS"
"""
_FAILS = """#!/bin/sh
echo "this is why" >&2
exit 3
"""


class Node:
    """A running node in a sandbox's namespaces, with other programs in its kubelet's and kube-proxy's place."""

    def __init__(self, folder: Path, *, kubelet: str) -> None:
        self.folder, self.state = folder, folder / "state"
        self.starts, self.errors, self.linger = folder / "starts", folder / "errors", folder / "linger"
        self.starts.touch()
        _fill_cache(folder / "inference-fleet", programs={"kubelet": kubelet, "kube-proxy": _STAYS})
        words = ("--name", "n", "--index", "1", "--state", str(self.state), "--kubeconfig", "/k", "--proxy-kubeconfig")
        node = (sys.executable, "-m", "inference_fleet.sandbox.node", *words, "/p")
        environment = {
            **os.environ,
            "PYTHONPATH": str(PACKAGES),
            "XDG_CACHE_HOME": str(folder),
            "STARTS": str(self.starts),
            "LINGER": str(self.linger),
        }
        command = (*NAMESPACES, "--kill-child", "sh", "-c", _SCRIPT, "sh", *node)
        with self.errors.open("w") as errors:
            self.outer = subprocess.Popen(command, stderr=errors, env=environment)

    def processes(self) -> dict[int, list[str]]:
        """What runs of the node, seen from outside: process ids with command lines."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = process.joinpath("cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if any(word.startswith(str(self.folder)) for word in words) and words[0] not in ("unshare", "sh"):
                found[int(process.name)] = words
        return found

    def one(self, word: str) -> int:
        """The oldest process with that word in its command line."""
        return min(pid for pid, words in self.processes().items() if word in words)

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.05)

    def until_ready(self) -> None:
        self.until((self.state / "ready").exists)

    def inside(self, *command: str) -> str:
        """Run a command as root of the node and return what it printed."""
        runtime = self.one("inference_fleet.sandbox.node.runtime")
        enter = ("nsenter", f"--target={runtime}", "--user", "--mount", "--net", "--pid", "--preserve-credentials")
        return subprocess.run((*enter, *command), check=False, capture_output=True, text=True).stdout

    def end(self) -> None:
        self.outer.kill()
        self.outer.wait()


def _fill_cache(folder: Path, *, programs: Mapping[str, str]) -> None:
    """A cache like this user's, but for some of Kubernetes' programs."""
    own = cache_folder()
    family = catalog()["kubelet"].family
    kubernetes = folder / family_folder(family.name, version=family.version).relative_to(own)
    kubernetes.mkdir(parents=True)
    for name, text in programs.items():
        (kubernetes / name).write_text(text)
        (kubernetes / name).chmod(0o755)
    for place in (*own.iterdir(), *own.joinpath("tools").iterdir()):
        link = folder / place.relative_to(own)
        if not link.exists():
            link.symlink_to(place)


@pytest.fixture
def start() -> Iterator[Callable[[str], Node]]:
    nodes: list[Node] = []
    with tempfile.TemporaryDirectory(prefix="node") as name:  # short enough for sockets

        def begin(kubelet: str) -> Node:
            nodes.append(Node(Path(name), kubelet=kubelet))
            return nodes[-1]

        yield begin
        for node in nodes:
            node.end()


def test_a_node_that_is_told_to_end_leaves_nothing(start: Callable[[str], Node]) -> None:
    node = start(_STAYS)
    node.until_ready()
    assert len(node.processes()) >= 5  # outside, inside, runtime, kubelet, kube-proxy
    os.kill(node.one("inference_fleet.sandbox.node"), signal.SIGTERM)
    assert node.outer.wait(timeout=20) == 0
    assert node.processes() == {}


def test_a_node_that_is_killed_leaves_nothing(start: Callable[[str], Node]) -> None:
    node = start(_STAYS)
    node.until_ready()
    node.linger.touch()
    os.kill(node.one("inference_fleet.sandbox.node"), signal.SIGKILL)
    node.until(lambda: not node.processes())
    assert node.outer.poll() is None


def test_a_node_ends_with_its_parent(start: Callable[[str], Node]) -> None:
    node = start(_STAYS)
    node.until_ready()
    node.linger.touch()
    inside = node.one("inference_fleet.sandbox.node")
    parent = int(Path(f"/proc/{inside}/stat").read_text().rpartition(")")[2].split()[1])
    assert "parent" in Path(f"/proc/{parent}/cmdline").read_text()
    os.kill(parent, signal.SIGKILL)
    node.until(lambda: not node.processes())
    assert node.outer.poll() is None


def test_a_running_node_cannot_change_the_machines_settings(start: Callable[[str], Node]) -> None:
    node = start(_STAYS)
    node.until_ready()
    # Opened, not written: where the protection failed, the test must not be what changes the machine.
    names = ("vm/overcommit_memory", "kernel/panic", "net/ipv4/ip_forward")
    opened = 'for name; do (: >> "/proc/sys/$name") && echo "$name"; done'
    assert node.inside("sh", "-c", opened, "sh", *names).split() == ["net/ipv4/ip_forward"]


def test_a_kubelet_that_ends_is_started_again(start: Callable[[str], Node]) -> None:
    node = start(_STAYS)
    node.until_ready()
    node.until(lambda: node.starts.read_text().count("started") == 2)  # kubelet and kube-proxy
    kubelet = node.state / "kubelet.pid"
    former = kubelet.read_text()
    node.inside("kill", "-9", former.strip())
    node.until(lambda: node.starts.read_text().count("started") == 3)
    assert kubelet.read_text() != former
    assert node.outer.poll() is None


def test_a_kubelet_that_does_not_stay_up_ends_the_node_with_its_last_words(start: Callable[[str], Node]) -> None:
    node = start(_FAILS)
    assert node.outer.wait(timeout=30) == 1
    said = node.errors.read_text()
    assert "node n: kubelet ended with exit status 3" in said
    assert "this is why" in said
    assert node.processes() == {}


def test_a_node_ends_with_its_runtime(start: Callable[[str], Node]) -> None:
    node = start(_STAYS)
    node.until_ready()
    os.kill(node.one("inference_fleet.sandbox.node.runtime"), signal.SIGKILL)
    assert node.outer.wait(timeout=20) == 1
    assert "runtime ended with SIGKILL" in node.errors.read_text()
    assert node.processes() == {}
