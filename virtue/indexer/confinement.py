"""What a process that decodes files of strangers may not do, should one of them take it over: fill the
memory, write files, reach the network, start programs, meddle with other processes."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

MAX_MEMORY = 3 << 30
"""Bytes of address space: a header that lies is then an error, not a full machine."""

KILL_PROCESS, RETURN_ERROR, ALLOW = 0x8000_0000, 0x0005_0000, 0x7FFF_0000
"""What Linux does about a system call (linux/seccomp.h); an errno is added to RETURN_ERROR."""

# Of an architecture: its number (linux/audit.h), and those of its system calls.
_X86_64 = (0xC000003E, {
    "socket": 41, "execve": 59, "execveat": 322, "ptrace": 101, "process_vm_writev": 311,
    "io_uring_setup": 425,
})  # fmt: skip
_AARCH64 = (0xC00000B7, {
    "socket": 198, "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_writev": 271,
    "io_uring_setup": 425,
})  # fmt: skip
_ARCHITECTURES = {"x86_64": _X86_64, "aarch64": _AARCH64}

_SET_SECCOMP, _FILTER_MODE, _NO_NEW_PRIVILEGES = 22, 2, 38  # linux/prctl.h
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h
_NUMBER, _ARCHITECTURE = 0, 4  # where struct seccomp_data has them
_X32_NUMBERS = 0x4000_0000


def confine() -> None:
    """Confines this process, as far as the system can: limits on Linux and macOS, and on Linux no network and
    no programs, too. Called before there are threads."""
    _set_limits()
    forbid(tuple(_X86_64[1]), RETURN_ERROR | errno.EPERM)


def forbid(calls: tuple[str, ...], action: int) -> bool:
    """Has Linux take this action at these system calls, in this process and those it starts, for good.
    Returns whether the kernel and the processor are such that it does."""
    if sys.platform != "linux" or platform.machine() not in _ARCHITECTURES or sys.maxsize < 1 << 32:
        return False
    architecture, numbers = _ARCHITECTURES[platform.machine()]
    count = len(calls)
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_IF_EQUAL, 0, count + 3, architecture),  # another's calls have other numbers: none may be made
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_IF_AT_LEAST, count + 1, 0, _X32_NUMBERS),
        *((_JUMP_IF_EQUAL, count - k, 0, numbers[call]) for k, call in enumerate(calls)),
        (_RETURN, 0, 0, ALLOW),
        (_RETURN, 0, 0, action),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))  # struct sock_fprog
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    if prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    place = ctypes.create_string_buffer(header)
    return prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.addressof(place), 0, 0) == 0


def _set_limits() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    limits = {
        resource.RLIMIT_AS: MAX_MEMORY,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,  # which would hold the picture
    }
    for kind, wanted in limits.items():
        hard = resource.getrlimit(kind)[1]
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(kind, (limit, limit))
        except (ValueError, OSError):  # macOS refuses a limit on memory below what it has mapped
            continue
