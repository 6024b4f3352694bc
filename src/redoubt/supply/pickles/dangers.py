"""What names outside the allow-list are known for: words for a finding, which decide nothing."""

from redoubt.supply.flaw import words
from redoubt.supply.pickles.values import Name

_DANGERS = {
    "os": "it runs a command, or touches files and processes",
    "posix": "it runs a command, or touches files and processes",
    "nt": "it runs a command, or touches files and processes",
    "subprocess": "it runs a command",
    "pty": "it runs a command",
    "commands": "it runs a command",
    "sys": "it changes the interpreter",
    "socket": "it opens a connection",
    "requests": "it opens a connection",
    "urllib": "it opens a connection",
    "http": "it opens a connection",
    "webbrowser": "it opens a browser",
    "shutil": "it copies or deletes files",
    "pickle": "it reads another pickle",
    "_pickle": "it reads another pickle",
    "cloudpickle": "it builds functions from code",
    "dill": "it builds functions from code",
    "marshal": "it builds code",
    "types": "it builds code",
    "code": "it runs code",
    "runpy": "it runs code",
    "pdb": "it runs code",
    "timeit": "it runs code",
    "cProfile": "it runs code",
    "profile": "it runs code",
    "importlib": "it imports a module of the author's choice",
    "imp": "it imports a module of the author's choice",
    "pkgutil": "it imports a module of the author's choice",
    "pip": "it installs packages",
    "ctypes": "it calls machine code",
    "operator": "it reaches methods that the list does not name",
    "functools": "it calls a function later",
    "asyncio": "it runs a command, or code",
    "multiprocessing": "it starts a process",
    "threading": "it runs code in the background",
}
_BUILTIN_DANGERS = frozenset(
    words("eval exec compile open __import__ getattr setattr delattr apply execfile input map")
)


def danger_of(name: Name) -> str | None:
    """What a name that is not allowed is known for; None if it is not known."""
    if name.module in ("builtins", "__builtin__", "__builtins__"):
        return "it runs code, or reaches what runs code" if name.name.split(".")[0] in _BUILTIN_DANGERS else None
    if name.module.split(".")[0] == "torch" and name.name in ("load", "_load_from_bytes", "load_from_bytes"):
        return "it reads another pickle"
    return _DANGERS.get(name.module.split(".")[0])
