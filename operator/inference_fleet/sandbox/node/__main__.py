"""`python -m inference_fleet.sandbox.node`: one node, in the foreground. See the package's documentation."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from inference_fleet.sandbox.node.inside import run_inside
from inference_fleet.sandbox.node.settings import NodeSettings, parse_settings
from inference_fleet.sandbox.tools import ToolUnavailable, tool_path

_CLONE_NEWNS, _CLONE_NEWPID, _CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
# It ends at once; it misses the signal only in the moment before it handles it.
_END_SECONDS = 2
_TOOLS = ("kubelet", "kube-proxy", "nft", "ip")


def main(argv: Sequence[str]) -> int:
    """Run the node; returns its exit status."""
    settings = parse_settings(argv)
    _end_with_parent(signal.SIGTERM)
    try:
        binaries = {name: tool_path(name, kubernetes_version=settings.kubernetes_version) for name in _TOOLS}
    except ToolUnavailable as error:
        print(f"node {settings.name}: {error}", file=sys.stderr)
        return 1
    settings.state.mkdir(parents=True, exist_ok=True)
    for left in ("ready", "runtime.sock"):  # by a node that ended here before
        (settings.state / left).unlink(missing_ok=True)
    return _run(settings, binaries=binaries, arguments=argv)


def _run(settings: NodeSettings, *, binaries: Mapping[str, Path], arguments: Sequence[str]) -> int:
    outer = os.open("/proc/self/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWPID) < 0:
        print(f"node {settings.name}: unshare: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        return 1
    inside = os.fork()
    if not inside:
        _end_with_parent(signal.SIGKILL)
        os.environ["PATH"] = _path(binaries)
        # Without the interpreter's exit, which would wait for what belongs to the process outside.
        os._exit(_flushed(run_inside(settings, outer=outer, binaries=binaries, arguments=arguments)))
    os.close(outer)
    (settings.state / "node.pid").write_text(f"{inside}\n", encoding="ascii")
    _pass_on_end(inside)
    _, status = os.waitpid(inside, 0)
    return max(os.waitstatus_to_exitcode(status), 0) if os.WIFEXITED(status) else 1


def _pass_on_end(inside: int) -> None:
    """SIGTERM and SIGINT end the first process inside, and with it the kernel ends all in its namespace."""

    def end(*_: object) -> None:
        os.kill(inside, signal.SIGTERM)
        signal.alarm(_END_SECONDS)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(inside, signal.SIGKILL))


def _path(binaries: Mapping[str, Path]) -> str:
    folders = [str(binaries[name].parent) for name in ("nft", "ip")]
    return os.pathsep.join(dict.fromkeys((*folders, *os.environ.get("PATH", os.defpath).split(os.pathsep))))


def _flushed(status: int) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _end_with_parent(number: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
