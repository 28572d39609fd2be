"""Mounts inside a mount namespace of one's own: volumes over the host's tree, without writing to the host.

Imports little: every container starts through here.
"""

from __future__ import annotations

import ctypes
import os
import stat
from dataclasses import dataclass, field

_libc = ctypes.CDLL(None, use_errno=True)

# <sys/mount.h>
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
_MS_BIND, _MS_REC, _MS_UNBINDABLE, _MS_PRIVATE = 1 << 12, 1 << 14, 1 << 17, 1 << 18
_MNT_DETACH = 2
_LOCKED_FLAGS = {os.ST_NOSUID: _MS_NOSUID, os.ST_NODEV: _MS_NODEV, os.ST_NOEXEC: _MS_NOEXEC}
# <linux/mount.h>, <asm/unistd.h>: the same number on every architecture.
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY = 1
# As the OCI runtimes have it for containers.
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_MACHINE_SETTINGS = (
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/proc/acpi",
    "/proc/scsi",
)
# The kernel shows each network namespace its own ones, and those of the whole machine read-only.
_NETWORK_SETTINGS = "/proc/sys/net"
# pivot_root has a number per architecture and no wrapper in the C library.
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


def mount(source: str | None, target: str, *, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    """mount(2); raises OSError with the target's name."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    _check(_libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(options)), f"mount {target}")


def bind(source: str, target: str) -> None:
    """Lay the tree at `source` over `target`, which exists."""
    mount(source, target, flags=_MS_BIND | _MS_REC)


def make_private(path: str) -> None:
    """Let no mount at or below `path` reach another namespace."""
    mount(None, path, flags=_MS_REC | _MS_PRIVATE)


def mount_proc(target: str) -> None:
    """A process file system of the current process namespace."""
    mount("proc", target, kind="proc", flags=_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def mount_tmpfs(target: str, *, mode: int, size_bytes: int | None = None) -> None:
    """An empty file system in memory."""
    size = f",size={size_bytes}" if size_bytes else ""
    mount("tmpfs", target, kind="tmpfs", flags=_MS_NOSUID | _MS_NODEV, options=f"mode={mode:o}{size}")


def make_read_only(path: str) -> None:
    """Forbid writing through the mount at `path` and those below it; `path` is a mount point."""
    if not _set_attributes(path, added=_MOUNT_ATTR_RDONLY, removed=0):
        _remount(path, flags=_MS_RDONLY)


def make_writable(path: str) -> None:
    """Undo `make_read_only` for the mount at `path` and those below it."""
    if not _set_attributes(path, added=0, removed=_MOUNT_ATTR_RDONLY):
        _remount(path, flags=0)


def protect(path: str) -> None:
    """Make a tree read-only where it lies; nothing happens where there is none."""
    if os.path.exists(path):
        bind(path, path)
        make_read_only(path)


def protect_kernel_settings() -> None:
    """Make read-only what acts on the whole machine from inside any namespace, network settings included."""
    for path in _MACHINE_SETTINGS:
        protect(path)


def protect_machine_settings() -> None:
    """The same, and the machine's devices and control groups, but for the settings of the network namespace.

    As root of the machine, the kubelet sets vm.overcommit_memory and kernel.panic even from a user namespace.
    """
    protect_kernel_settings()
    protect("/sys")
    bind(_NETWORK_SETTINGS, _NETWORK_SETTINGS)
    make_writable(_NETWORK_SETTINGS)


@dataclass
class Tree:
    """The tree of this mount namespace, in which names can be made without changing the host's folders."""

    own: set[str] = field(default_factory=set)

    def lay(self, source: str, target: str) -> str:
        """Lay `source` over `target`, making the name where it is missing. Returns the target's real path."""
        place = self.provide_folder(target) if os.path.isdir(source) else self.provide_file(target)
        bind(source, place)
        return place

    def provide_folder(self, path: str) -> str:
        """Make sure that a folder is there; returns its real path."""
        path = os.path.realpath(path)
        if not os.path.lexists(path):
            self._own_parent(path)
            os.makedirs(path)
        return path

    def provide_file(self, path: str) -> str:
        """Make sure that a file is there; returns its real path."""
        path = os.path.realpath(path)
        if not os.path.lexists(path):
            self._own_parent(path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
        return path

    def lay_devices(self) -> None:
        """A /dev with the devices every container has instead of the machine's, which root could open here too."""
        kept = {name: os.open(f"/dev/{name}", os.O_PATH) for name in _DEVICES if os.path.exists(f"/dev/{name}")}
        mount_tmpfs("/dev", mode=0o755)
        self.own.add("/dev")
        for name, device in kept.items():
            self.lay(f"/proc/self/fd/{device}", f"/dev/{name}")
            os.close(device)
        for name, target in _DEVICE_LINKS.items():
            os.symlink(target, f"/dev/{name}")

    def _own_parent(self, path: str) -> None:
        """Shadow the nearest folder that exists, unless it is on a file system made here."""
        parent = os.path.dirname(path)
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        if not self._is_own(parent):
            _shadow(parent)
            self.own.add(parent)

    def _is_own(self, folder: str) -> bool:
        # A folder bound back into a shadow is the host's again; one that makedirs made there is not a mount point.
        while folder not in self.own:
            if folder == "/" or os.path.ismount(folder):
                return False
            folder = os.path.dirname(folder)
        return True

    def move_root(self, folder: str) -> None:
        """Make a file system in memory the root, holding every entry of the old root."""
        mount_tmpfs(folder, mode=0o755)
        mount(None, folder, flags=_MS_UNBINDABLE)  # or it would be bound into itself
        for name in os.listdir("/"):
            _bring("/" + name, os.path.join(folder, name))
        os.chdir(folder)
        _check(_libc.syscall(_SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
        _check(_libc.umount2(b".", _MNT_DETACH), "umount")
        os.chdir("/")
        mount(None, "/", flags=_MS_PRIVATE)
        self.own.add("/")


def _set_attributes(path: str, *, added: int, removed: int) -> bool:
    attributes = (ctypes.c_uint64 * 4)(added, removed, 0, 0)
    arguments = (_AT_FDCWD, os.fsencode(path), _AT_RECURSIVE, attributes, ctypes.sizeof(attributes))
    return int(_libc.syscall(_SYS_MOUNT_SETATTR, *arguments)) == 0


def _remount(path: str, *, flags: int) -> None:
    """For a kernel before 5.12: the mount itself, not those below."""
    kept = sum(flag for held, flag in _LOCKED_FLAGS.items() if os.statvfs(path).f_flag & held)
    mount(None, path, flags=_MS_BIND | _MS_REMOUNT | flags | kept)


def _shadow(folder: str) -> None:
    """Lay a writable file system over a folder with each of its entries bound back."""
    old = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    mode = stat.S_IMODE(os.stat(folder).st_mode)
    names = os.listdir(folder)
    mount_tmpfs(folder, mode=mode)
    for name in names:
        _bring(f"/proc/self/fd/{old}/{name}", os.path.join(folder, name))
    os.close(old)


def _bring(source: str, target: str) -> None:
    """Make an empty name of the source's kind and bind the source there; what this user may not see stays away."""
    try:
        mode = os.lstat(source).st_mode
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(source), target)
            return
        if stat.S_ISDIR(mode):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        bind(source, target)
    except OSError:
        return


def _check(status: int, what: str) -> None:
    if status < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
