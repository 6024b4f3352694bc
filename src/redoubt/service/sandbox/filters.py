"""What Linux lets a process take from itself without privileges: new sockets, programs, processes, and writing files.

Seccomp (`man 2 seccomp`) answers forbidden system calls with an error; Landlock (`man 7 landlock`) refuses to create
or change files outside one folder.  Both hold for good, and for all threads that are started later.

Not covered: reading files, and what a hole in the kernel allows.  Where the kernel has neither, `network` and `files`
of what is told say so, and the limits of `confine` are all there is.
"""

import ctypes
import os
import platform
import struct
import sys
from pathlib import Path

_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2  # prctl
_ALLOW, _DENY, _UNKNOWN, _KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000  # EPERM, ENOSYS
_LOAD, _EQUAL, _AT_LEAST, _HAS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_THREAD = 0x00010000  # of clone's flags
_FOREIGN = 0x40000000  # x86-64's second set of numbers

_CALLS: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "ptrace": 101, "tkill": 200,
            "process_vm_readv": 310, "process_vm_writev": 311, "execveat": 322, "pidfd_send_signal": 424,
            "io_uring_setup": 425, "clone": 56, "clone3": 435,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198, "execve": 221, "kill": 129, "ptrace": 117, "tkill": 130, "process_vm_readv": 270,
            "process_vm_writev": 271, "execveat": 281, "pidfd_send_signal": 424, "io_uring_setup": 425, "clone": 220,
            "clone3": 435,
        },
    ),
}  # fmt: skip
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # the same on every machine
_WRITING = 1 << 1 | sum(1 << bit for bit in range(4, 13))  # write_file, remove_*, make_*


def close_network() -> bool:
    """Take sockets, programs, processes and signals to others from this process; whether that could be done."""
    known = _CALLS.get(platform.machine())
    if known is None or not sys.platform.startswith("linux"):
        return False
    program = _program(*known)
    libc = ctypes.CDLL(None, use_errno=True)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    held = ctypes.create_string_buffer(program, len(program))
    whole = Program(len(program) // 8, ctypes.cast(held, ctypes.c_void_p))
    none = ctypes.c_ulong(0)
    if libc.prctl(_NO_NEW_PRIVS, ctypes.c_ulong(1), none, none, none) != 0:
        return False
    return bool(libc.prctl(_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.byref(whole), none, none) == 0)


def _program(machine: int, calls: dict[str, int]) -> bytes:
    """The filter: who comes with another machine's numbers is killed, what is named is refused, all else allowed."""

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    def refuse(number: int, answer: int = _DENY) -> bytes:
        return step(_EQUAL, number, 0, 1) + step(_RETURN, answer)

    parts = [step(_LOAD, 4), step(_EQUAL, machine, 1, 0), step(_RETURN, _KILL), step(_LOAD, 0)]
    parts += [step(_AT_LEAST, _FOREIGN, 0, 1), step(_RETURN, _DENY)]
    parts += [refuse(number) for name, number in calls.items() if name not in ("clone", "clone3")]
    parts.append(refuse(calls["clone3"], _UNKNOWN))  # its flags lie in memory; without it, libraries take clone
    parts += [step(_EQUAL, calls["clone"], 0, 3), step(_LOAD, 16), step(_HAS, _THREAD, 1, 0), step(_RETURN, _DENY)]
    return b"".join([*parts, step(_RETURN, _ALLOW)])


def close_files(folder: Path) -> bool:
    """Refuse to create, change or remove files outside a folder; whether that could be done."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    handled = ctypes.create_string_buffer(struct.pack("=Q", _WRITING), 8)
    rules = libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), handled, ctypes.c_size_t(8), ctypes.c_uint(0))
    if rules < 0:
        return False
    try:
        place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            beneath = ctypes.create_string_buffer(struct.pack("=Qi", _WRITING, place), 12)
            added = libc.syscall(
                ctypes.c_long(_LANDLOCK_ADD), ctypes.c_int(rules), ctypes.c_int(1), beneath, ctypes.c_uint(0)
            )
        finally:
            os.close(place)
        none = ctypes.c_ulong(0)
        if added != 0 or libc.prctl(_NO_NEW_PRIVS, ctypes.c_ulong(1), none, none, none) != 0:
            return False
        return bool(libc.syscall(ctypes.c_long(_LANDLOCK_RESTRICT), ctypes.c_int(rules), ctypes.c_uint(0)) == 0)
    finally:
        os.close(rules)
