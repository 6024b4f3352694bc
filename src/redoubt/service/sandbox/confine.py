"""Taking from this very process what it will not need.  First thing that a sandbox's child does."""

import resource
from dataclasses import dataclass
from pathlib import Path

from redoubt.service.sandbox.filters import close_files, close_network

_OPEN_FILES = 256


@dataclass(frozen=True)
class Limits:
    """What a process may use.

    Attributes:
        seconds: of processor time, over all threads.
        memory: bytes of address space.
        file: bytes of one file that it writes.
    """

    seconds: int
    memory: int
    file: int


def confine(limits: Limits, folder: Path) -> dict[str, str]:
    """Confine this process for good; what holds it, in words.

    Args:
        limits: resources.
        folder: the only one in which files may be written.
    """
    for what, most in (
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        grace = 5 if what == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else 0  # between signal and kill
        resource.setrlimit(what, (least, least + grace))
    files, network = close_files(folder), close_network()
    return {
        "files": "written in its own folder only (Landlock)" if files else "not confined: the kernel has no Landlock",
        "network": "closed, and no other program (seccomp)" if network else "not confined: the kernel has no seccomp",
        "memory": f"{limits.memory // 2**20} MiB",
        "processor": f"{limits.seconds} s",
    }
