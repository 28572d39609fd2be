"""Addresses and routes: a pod's network namespace on its node, and the node's on the outer one."""

from __future__ import annotations

import contextlib
import ctypes
import heapq
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inference_fleet.sandbox.node import CONTROL_PLANE_ADDRESS

_CLONE_NEWNET = 0x40000000
_CURRENT_NAMESPACE = "/proc/thread-self/ns/net"
# The gateway every pod has: the node answers for it on its side of the pod's devices.
_POD_GATEWAY = "169.254.1.1"
_FIRST_POD, _LAST_POD = 2, 254


class NetworkError(Exception):
    """A device, an address or a route could not be made."""


@dataclass(frozen=True)
class PodLink:
    """A pod's network namespace, alive as long as the descriptor is open."""

    address: str
    descriptor: int


def node_address(index: int) -> str:
    """The address of the node with this index."""
    return f"10.244.{index}.1"


class PodNetwork:
    """Hands out the pod addresses of one node, each with its namespace. To be used in the node's namespace."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._free = list(range(_FIRST_POD, _LAST_POD + 1))

    def connect(self) -> PodLink:
        """A new namespace joined to the node's by a pair of devices. Raises NetworkError."""
        with self._lock:
            if not self._free:
                raise NetworkError(f"all {_LAST_POD - _FIRST_POD + 1} pod addresses of the node are taken")
            number = heapq.heappop(self._free)
        address = f"10.244.{self._index}.{number}"
        try:
            return PodLink(address, self._make(number, address=address))
        except (NetworkError, OSError):
            with self._lock:
                heapq.heappush(self._free, number)
            raise

    def disconnect(self, link: PodLink) -> None:
        """Let go of the namespace; the address can be handed out again."""
        # The device goes with the last descriptor and process, which may take a moment: not while the address lives on.
        with contextlib.suppress(NetworkError):
            run_ip((f"link delete {_device(link.address)}",))
        os.close(link.descriptor)
        with self._lock:
            heapq.heappush(self._free, int(link.address.rpartition(".")[2]))

    def _make(self, number: int, *, address: str) -> int:
        device = _device(address)
        node = os.open(_CURRENT_NAMESPACE, os.O_RDONLY)
        inside = (
            "link set lo up",
            f"link add eth0 type veth peer name {device} netns /proc/self/fd/{node}",
            f"address add {address}/32 dev eth0",
            "link set eth0 up",
            f"route add {_POD_GATEWAY} dev eth0 scope link",
            f"route add default via {_POD_GATEWAY}",
        )

        def fill() -> None:
            run_ip(inside, descriptors=(node,))
            # As container runtimes have it: any port may be bound without rights.
            _write_setting("net/ipv4/ip_unprivileged_port_start", "0")

        try:
            descriptor = new_network_namespace(fill)
        finally:
            os.close(node)
        try:
            run_ip((f"link set {device} up", f"route add {address}/32 dev {device} src {node_address(self._index)}"))
        except NetworkError:
            os.close(descriptor)
            raise
        return descriptor


def join_outer_network(index: int, *, outer: int) -> None:
    """Connect the node's new namespace, the current one, to the outer one, which the descriptor `outer` names."""
    device, address = f"node{index}", node_address(index)
    entering = ("nsenter", f"--net=/proc/self/fd/{outer}")
    with contextlib.suppress(NetworkError):  # there is none, unless a former node of this name is not quite gone
        run_ip((f"link delete {device}",), prefix=entering, descriptors=(outer,))
    inside = (
        "link set lo up",
        f"address add {_POD_GATEWAY}/32 dev lo",
        f"link add eth0 type veth peer name {device} netns /proc/self/fd/{outer}",
        f"address add {address}/32 dev eth0",
        "link set eth0 up",
        f"route add {CONTROL_PLANE_ADDRESS} dev eth0 scope link src {address}",
        f"route add default via {CONTROL_PLANE_ADDRESS} src {address}",
    )
    run_ip(inside, descriptors=(outer,))
    outside = (
        f"link set {device} up",
        f"route add {address} dev {device} scope link src {CONTROL_PLANE_ADDRESS}",
        f"route add 10.244.{index}.0/24 via {address} src {CONTROL_PLANE_ADDRESS}",
    )
    run_ip(outside, prefix=entering, descriptors=(outer,))
    _write_setting("net/ipv4/ip_forward", "1")
    in_network_namespace(outer, lambda: _write_setting("net/ipv4/ip_forward", "1"))


def run_ip(
    lines: tuple[str, ...],
    *,
    prefix: tuple[str, ...] = (),
    descriptors: tuple[int, ...] = (),
) -> None:
    """Run lines of `ip -batch`. Raises NetworkError with the tool's own words."""
    done = subprocess.run(
        (*prefix, "ip", "-batch", "-"),
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
        pass_fds=descriptors,
    )
    if done.returncode:
        raise NetworkError(done.stderr.strip() or f"ip ended with exit status {done.returncode}")


def new_network_namespace(fill: Callable[[], None]) -> int:
    """A descriptor of a new network namespace in which `fill` has run."""
    made: list[int] = []

    def work() -> None:
        _check(ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET), "unshare")
        descriptor = os.open(_CURRENT_NAMESPACE, os.O_RDONLY)
        try:
            fill()
        except BaseException:
            os.close(descriptor)
            raise
        made.append(descriptor)

    _in_thread(work)
    return made[0]


def in_network_namespace(descriptor: int, work: Callable[[], None]) -> None:
    """Run `work` in the namespace of the descriptor."""

    def enter() -> None:
        _check(ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET), "setns")
        work()

    _in_thread(enter)


def _in_thread(work: Callable[[], None]) -> None:
    """Run it in a thread of its own, whose namespaces end with it."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _device(address: str) -> str:
    """The node's side of a pod's pair of devices: `pod-7` for 10.244.1.7."""
    return f"pod-{address.rpartition('.')[2]}"


def _write_setting(name: str, value: str) -> None:
    Path("/proc/sys", name).write_text(value, encoding="ascii")


def _check(status: int, what: str) -> None:
    if status < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
