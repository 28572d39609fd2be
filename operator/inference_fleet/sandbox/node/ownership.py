"""A process for which every change of a file's owner succeeds without being made.

In a user namespace with one user there is nobody else to give a file to, yet the kubelet gives a token to `runAsUser`
and a volume to `fsGroup` and holds the pod back where that fails. All processes of the sandbox are the same user, so
they reach the files as they are.
"""

from __future__ import annotations

import ctypes
import os
import struct

# chown, fchown, lchown, fchownat (<asm/unistd.h>).
_CALLS = {"x86_64": (92, 93, 94, 260), "aarch64": (55, 54)}
# <linux/prctl.h>, <linux/seccomp.h>, <linux/bpf_common.h>
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_RET_ALLOW, _RET_SUCCESS = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ERRNO with errno 0
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_OFFSET = 0  # of `nr` in struct seccomp_data


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def pretend_ownership() -> None:
    """Filter this process and all it starts. Needs CAP_SYS_ADMIN in its user namespace; raises OSError."""
    program = filter_program(_CALLS[os.uname().machine])
    libc = ctypes.CDLL(None, use_errno=True)
    held = _Program(len(program) // 8, program)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(held), 0, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def filter_program(calls: tuple[int, ...]) -> bytes:
    """The filter's instructions, eight bytes each: the calls succeed unmade, all others are made."""
    lines = [(_LOAD_WORD, 0, 0, _NUMBER_OFFSET)]
    # Each comparison jumps over those after it and over the allowing return.
    lines += [(_JUMP_IF_EQUAL, len(calls) - index, 0, call) for index, call in enumerate(calls)]
    lines += [(_RETURN, 0, 0, _RET_ALLOW), (_RETURN, 0, 0, _RET_SUCCESS)]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)
