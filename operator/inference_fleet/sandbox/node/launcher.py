"""`python -m inference_fleet.sandbox.node.launcher`: becomes a container's first process.

Reads a LaunchOrder as JSON from standard input, makes the namespaces and mounts, forks the container's process into
them, writes that process's id to the report descriptor and ends. The report stays open until the process has become
its program; what stands there after the id is why it could not.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from dataclasses import asdict, dataclass

from inference_fleet.sandbox.node import mounts

_libc = ctypes.CDLL(None, use_errno=True)
# <linux/sched.h>
_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWUSER = 0x20000, 0x4000000, 0x10000000
_CLONE_NEWPID, _CLONE_NEWNET, _CLONE_NEWIPC = 0x20000000, 0x40000000, 0x8000000
# What containerd gives a container that mounts no volume at /dev/shm.
_SHARED_MEMORY_BYTES = 64 * 2**20
# Where a container without readOnlyRootFilesystem may write besides its volumes; lost with the container.
CONTAINER_HOME = "/container-home"
_SCRATCH = ("/tmp", "/var/tmp", CONTAINER_HOME)  # noqa: S108


@dataclass(frozen=True)
class VolumeMount:
    """A file or folder of the node at its place in the container."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True)
class LaunchOrder:
    """One container's process.

    `root` is an empty folder to mount the container's root at; `kept` are folders that the program needs even if they
    lie where a container has its own scratch space; `network` and `report` are inherited descriptors.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]
    folder: str
    host_name: str
    root: str
    read_only_root: bool
    user: int
    group: int
    volumes: tuple[VolumeMount, ...]
    kept: tuple[str, ...]
    network: int | None
    report: int

    def to_json(self) -> str:
        """For `from_json`, in the launcher's process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LaunchOrder:
        """The order that `to_json` wrote."""
        fields = json.loads(text)
        volumes = tuple(VolumeMount(**volume) for volume in fields.pop("volumes"))
        argv, kept = tuple(fields.pop("argv")), tuple(fields.pop("kept"))
        return cls(argv=argv, kept=kept, volumes=volumes, **fields)


def launch(order: LaunchOrder) -> None:
    """Fork the container's process; in it, this does not return."""
    if order.network is not None:
        _check(_libc.setns(order.network, _CLONE_NEWNET), "setns")
    _check(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWPID), "unshare")
    if order.host_name:
        name = order.host_name.encode()
        _check(_libc.sethostname(name, len(name)), "sethostname")
    mounts.make_private("/")
    places = lay_tree(order)
    child = os.fork()
    if child:
        os.write(order.report, f"{child}\n".encode())
        return
    try:
        os.setsid()
        protect_tree(places)
        os.chdir(order.folder or "/")
        become_user(user=order.user, group=order.group)
        os.set_inheritable(order.report, False)
        os.execvpe(order.argv[0], order.argv, order.environment)  # noqa: S606
    except OSError as error:
        os.write(order.report, f"{order.argv[0]}: {error.strerror or error}".encode())
        os._exit(127)


def lay_tree(order: LaunchOrder) -> list[tuple[str, bool]]:
    """The host's tree with the container's volumes; returns each place with whether it may be written."""
    tree = mounts.Tree()
    tree.move_root(order.root)
    kept = [VolumeMount(path, path, read_only=True) for path in order.kept if path.startswith(_SCRATCH)]
    # What lies deeper comes later: a pod's own /tmp must not hide a checkout below it.
    volumes = sorted((*order.volumes, *kept), key=lambda volume: volume.target.count("/"))
    # Sources may lie where the scratch space comes to lie.
    sources = [os.open(volume.source, os.O_PATH) for volume in volumes]
    tree.lay_devices()
    places = []
    shared_memory = tree.provide_folder("/dev/shm")  # noqa: S108
    mounts.mount_tmpfs(shared_memory, mode=0o1777, size_bytes=_SHARED_MEMORY_BYTES)
    places.append((shared_memory, True))
    for folder in _SCRATCH:
        place = tree.provide_folder(folder)
        if not order.read_only_root:
            mounts.mount_tmpfs(place, mode=0o1777)
            tree.own.add(place)
            places.append((place, True))
    for volume, source in zip(volumes, sources, strict=True):
        place = tree.lay(f"/proc/self/fd/{source}", volume.target)
        places.append((place, not volume.read_only))
        if not volume.read_only:  # a volume inside a volume gets its folder there
            tree.own.add(place)
        os.close(source)
    return places


def protect_tree(places: list[tuple[str, bool]]) -> None:
    """A process file system of its own; then nothing may be written but `places` that allow it."""
    # Refused where parts of /proc are hidden, as where the sandbox itself runs in a container: keep the one in place.
    with contextlib.suppress(OSError):
        mounts.mount_proc("/proc")
    mounts.make_read_only("/")
    mounts.make_writable("/proc")
    for place, writable in places:  # in order of depth: the deeper one decides
        if writable:
            mounts.make_writable(place)
        else:
            mounts.make_read_only(place)
    mounts.protect_kernel_settings()


def become_user(*, user: int, group: int) -> None:
    """Be that user in a user namespace of one's own: without rights over the namespaces made before."""
    outer_user, outer_group = os.geteuid(), os.getegid()
    _check(_libc.unshare(_CLONE_NEWUSER), "unshare user namespace")
    for name, text in (
        ("uid_map", f"{user} {outer_user} 1"),
        ("setgroups", "deny"),
        ("gid_map", f"{group} {outer_group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def main() -> int:
    """Carry out the order on standard input."""
    order = LaunchOrder.from_json(sys.stdin.read())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        launch(order)
    except OSError as error:
        os.write(order.report, f"0\n{error.strerror or error}".encode())
        return 1
    return 0


def _check(status: int, what: str) -> None:
    if status < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main())
