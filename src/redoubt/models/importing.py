"""Importing a factory or callable that a policy names.

This runs the code of whoever wrote it: a policy that names Python code is as trusted as that code.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from redoubt.models.files import sha256
from redoubt.models.locate import first_line
from redoubt.records import ModelError, Place, PolicyError
from redoubt.records.canonical import Json


def named_parts(rest: str, scheme: str, role: str) -> tuple[str, str]:
    """Split `<module>:<name>`.

    Raises:
        PolicyError: it is not of that form.

    >>> named_parts("digits.model:build", "torch", "factory")
    ('digits.model', 'build')
    """
    module, colon, name = rest.partition(":")
    if not colon or not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise PolicyError(
            f"'{scheme}:{rest}' is not '{scheme}:<module>:<{role}>'", remedy=f"write for example '{scheme}:model:build'"
        )
    return module, name


@contextmanager
def folder_first(base: Path) -> Iterator[None]:
    """Within the block, imports look into `base` first; afterwards `sys.path` is what it was."""
    before = list(sys.path)
    sys.path.insert(0, str(base.resolve()))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def import_named(module: str, name: str, base: Path) -> Callable[..., object]:
    """The callable `name` of `module`, found in `base` first.

    A module of the same name that was imported from another folder gives way to the one in `base`.

    Raises:
        ModelError: no such module or name, it is not callable, or importing it fails; the message says which.
    """
    _forget_namesake(module.partition(".")[0], base)
    try:
        with folder_first(base):
            loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise ModelError(
                f"there is no module '{module}' in {base} or among the installed packages",
                remedy="put the file beside the policy, or install the package",
            ) from error
        raise ModelError(
            f"module '{module}' needs '{error.name}', which is not installed", remedy=f"pip install {error.name}"
        ) from error
    except SyntaxError as error:
        raise ModelError(
            f"module '{module}' is not Python: {error.msg}",
            Place(error.filename or module, error.lineno or 0),
            remedy="mend the file",
        ) from error
    except Exception as error:  # the wall to somebody else's code, which may raise anything
        raise ModelError(
            f"importing '{module}' fails: {first_line(error)}", remedy=f"try python -c 'import {module}' in {base}"
        ) from error
    found = getattr(loaded, name, None)
    if not callable(found):
        what = "has no" if found is None else "has, but cannot call,"
        raise ModelError(f"module '{module}' {what} '{name}'", remedy=_candidates(loaded))
    return found  # type: ignore[no-any-return]


def source_texts(*modules: str) -> Json:
    """The SHA-256 of each module's source text, or a note where there is none, for digests."""
    texts: dict[str, Json] = {}
    for name in sorted(set(modules)):
        try:
            texts[name] = sha256(inspect.getsource(sys.modules[name]).encode())
        except (KeyError, OSError, TypeError):
            texts[name] = "source text not available"
    return texts


def _forget_namesake(top: str, base: Path) -> None:
    """Drop module `top` from the import cache if `base` has one of that name and the cached one is another file."""
    cached = sys.modules.get(top)
    mine = [base.resolve() / f"{top}.py", base.resolve() / top / "__init__.py"]
    file = getattr(cached, "__file__", None)
    if cached is None or file is None or not any(path.is_file() for path in mine) or Path(file).resolve() in mine:
        return
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]


def _candidates(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return f"name one of {', '.join(sorted(names)[:8])}" if names else "name a function of that module"
