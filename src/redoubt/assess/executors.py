"""Where tasks run: in this process, in several, or on Ray.  The results are the same bytes everywhere."""

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from redoubt.assess.job import Job
from redoubt.assess.system import System, open_system
from redoubt.records import Fault, ModelError, Policy, PolicyError


class Finished(NamedTuple):
    """A task, its result as bytes, and how long it took in seconds."""

    task: Job
    content: bytes
    seconds: float


class Executor(Protocol):
    """Takes tasks, and gives back results as they finish, in any order."""

    def submit(self, task: Job) -> None:
        """Accept a task."""

    def finished(self) -> Finished:
        """Wait for some task to finish; only after a `submit` that has not been answered yet."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class Recipe:
    """How another process opens the same system."""

    policy: Policy
    base: Path
    device: str
    run: str

    def open(self) -> System:
        """Open the system.

        Raises:
            ModelError: what opens there is not what was opened here.
        """
        system = open_system(self.policy, self.base, lambda *_: None, self.device)
        if system.run != self.run:
            raise ModelError("model, data or code changed while they were being assessed", remedy="run it again")
        return system


def _timed(system: System, task: Job) -> tuple[bytes, float]:
    begin = time.perf_counter()
    content = task.perform(system)
    return content, time.perf_counter() - begin


class InProcess:
    """One task after the other, here."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._waiting: deque[Job] = deque()

    def submit(self, task: Job) -> None:
        self._waiting.append(task)

    def finished(self) -> Finished:
        task = self._waiting.popleft()
        return Finished(task, *_timed(self._system, task))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()


_recipe: Recipe | None = None  # in a worker process: what it works on


def _work_on(recipe: Recipe) -> None:
    global _recipe
    _recipe = recipe


@cache
def _system_here() -> System:
    """The worker's system, opened at its first task, so that what goes wrong comes back as that task's error."""
    if _recipe is None:
        raise Fault("a worker was given a task before it was told what to work on")
    return _recipe.open()


def _run_here(task: Job) -> tuple[bytes, float]:
    return _timed(_system_here(), task)


class Processes:
    """Tasks spread over processes of this machine, one thread each."""

    def __init__(self, recipe: Recipe, workers: int) -> None:
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_work_on, initargs=(recipe,)
        )
        self._running: dict[Future[tuple[bytes, float]], Job] = {}

    def submit(self, task: Job) -> None:
        with _worker_died():
            self._running[self._pool.submit(_run_here, task)] = task

    def finished(self) -> Finished:
        done = next(iter(wait(self._running, return_when=FIRST_COMPLETED).done))
        task = self._running.pop(done)
        with _worker_died():
            return Finished(task, *done.result())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _worker_died() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise Fault(
            "a worker process died",
            remedy="it may have run out of memory: try --workers 1; what is finished is kept",
        ) from None


class OnRay:
    """Tasks spread over the actors of a Ray cluster: the one at `RAY_ADDRESS`, or one started here.

    Every node needs this package, and the model's and the data's files at the same paths.
    """

    def __init__(self, ray: Any, recipe: Recipe, workers: int) -> None:
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
        actor = ray.remote(num_cpus=1)(_RayWorker)
        # An actor that finds no processor never starts, and would wait for ever with its task.
        workers = max(1, min(workers, int(ray.cluster_resources().get("CPU", 1))))
        self._idle: deque[Any] = deque(actor.remote(recipe) for _ in range(workers))
        self._waiting: deque[Job] = deque()
        self._running: dict[Any, tuple[Job, Any]] = {}

    def submit(self, task: Job) -> None:
        self._waiting.append(task)
        self._dispatch()

    def finished(self) -> Finished:
        done, _ = self._ray.wait(list(self._running), num_returns=1)
        task, worker = self._running.pop(done[0])
        try:
            content, seconds = self._ray.get(done[0])
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayActorError as error:
            raise Fault(f"a Ray worker died: {error}", remedy="run it again; what is finished is kept") from None
        self._idle.append(worker)
        self._dispatch()
        return Finished(task, content, seconds)

    def _dispatch(self) -> None:
        while self._idle and self._waiting:
            task, worker = self._waiting.popleft(), self._idle.popleft()
            self._running[worker.run.remote(task)] = task, worker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._started:
            self._ray.shutdown()


class _RayWorker:
    def __init__(self, recipe: Recipe) -> None:
        _work_on(recipe)

    def run(self, task: Job) -> tuple[bytes, float]:
        return _run_here(task)


def executor_for(on: str, workers: int, system: System, base: Path) -> Callable[[], Executor]:
    """How to start the executor of that name.

    Raises:
        PolicyError: there is no such executor, or it is not installed.
    """
    recipe = Recipe(system.policy, base, system.device, system.run)
    if on == "ray":
        try:
            import ray
        except ImportError:
            raise PolicyError("Ray is not installed", remedy="pip install 'redoubt[ray]'") from None
        return lambda: OnRay(ray, recipe, workers)
    if on != "local":
        raise PolicyError(f"unknown executor '{on}'", remedy="write --on local or --on ray")
    return (lambda: InProcess(system)) if workers == 1 else (lambda: Processes(recipe, workers))
