"""Takes the network from a process by a filter of its system calls, which needs no privilege.

Sources: seccomp(2), bpf(4); numbers of linux/audit.h and of the kernel's tables of system calls.
"""

import ctypes
import errno
import os
import struct
import sys
from typing import NamedTuple

_PR_SET_NO_NEW_PRIVS, _SECCOMP_SET_MODE_FILTER, _SPEC_ALLOW = 38, 1, 4
"""Speculation stays as it was: its price is for processes that run foreign programs beside their own secrets."""
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
"""Offsets in ``struct seccomp_data``."""
_X32 = 0x40000000
"""Added to the numbers of x86-64's second set of calls."""
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES


class _Machine(NamedTuple):
    architecture: int
    """Of its native calls; others, such as those of 32 bit, have numbers of their own."""
    seccomp: int
    refused: tuple[int, ...]
    """socket and socketpair; io_uring_setup, which opens sockets, too; pidfd_getfd, which takes those of others."""


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 317, (41, 53, 425, 438)),
    "aarch64": _Machine(0xC00000B7, 277, (198, 199, 425, 438)),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_sockets() -> bool:
    """Let this process and those that it starts open no socket of any kind for ever; call it before a second thread.

    They get `PermissionError`. Sockets that are open stay so. Returns False if the process goes on without the filter:
    on other processors than x86-64 and ARM64, and where the kernel cannot filter (before Linux 4.17).
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is None or sys.platform != "linux" or sys.maxsize < 1 << 32:
        return False
    libc, none = ctypes.CDLL(None), ctypes.c_ulong(0)
    program = _filter_of(machine)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), none, none, none)
    argument = ctypes.byref(_Program(len(program) // 8, program))
    return bool(libc.syscall(ctypes.c_long(machine.seccomp), _SECCOMP_SET_MODE_FILTER, _SPEC_ALLOW, argument) == 0)


def _filter_of(machine: _Machine) -> bytes:
    """Return the instructions of the filter, 8 bytes each; the last one refuses, and the one before it allows."""
    number = len(machine.refused)
    return b"".join(
        (
            _instruction(_LOAD, _ARCHITECTURE),
            _instruction(_JUMP_IF_EQUAL, machine.architecture, 0, number + 3),
            _instruction(_LOAD, _NUMBER),
            _instruction(_JUMP_IF_AT_LEAST, _X32, number + 1),
            *(_instruction(_JUMP_IF_EQUAL, call, number - index) for index, call in enumerate(machine.refused)),
            _instruction(_RETURN, _ALLOW),
            _instruction(_RETURN, _REFUSE),
        )
    )


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return a ``struct sock_filter``; the jumps count the instructions to leave out."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
