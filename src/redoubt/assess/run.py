"""`assess`: a policy and a system in, evidence out.

The order of steps, which the tests' names repeat:

1. open      load model and data, look for what would spoil the assessment; nothing is written before this is done
2. plan      for each requirement, as its game says: who plays what, as chains of tasks
3. execute   run the tasks, keep each result as it comes; what an earlier run kept is not done again
4. conclude  judge each requirement, as its game says
5. write     evidence, pictures and timings
"""

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch

from redoubt import __version__
from redoubt.assess.execute import Progress, Silent, Stopwatch, execute
from redoubt.assess.executors import executor_for
from redoubt.assess.games import GAMES
from redoubt.assess.invariance import training_data
from redoubt.assess.job import Played
from redoubt.assess.setting import Setting
from redoubt.assess.store import TaskStore
from redoubt.assess.suite import STANDARD
from redoubt.assess.system import System, answers, open_system, versions
from redoubt.assess.through import Through
from redoubt.attacks.evasion import EvasionAttack
from redoubt.policy import PolicyFile
from redoubt.records import Evidence, Place, PolicyError, RequirementEvidence, StorageError, canonical_json
from redoubt.records.canonical import Json
from redoubt.storage import write_atomically


def assess(
    file: PolicyFile,
    folder: Path,
    *,
    on: str = "local",
    workers: int = 1,
    device: str = "cpu",
    suite: Sequence[EvasionAttack] = STANDARD,
    progress: Progress | None = None,
    through: Through | None = None,
) -> Evidence:
    """Assess the system of a policy, and leave the evidence in a folder.

    Run again with the same folder, it goes on where it was killed.  The evidence is the same for any executor and any
    number of workers.

    Args:
        file: the policy as read.
        folder: where `evidence.json`, `examples.safetensors`, `policy.yaml`, `timings.json` and `tasks/` go.
        on: `local` or `ray`.
        workers: processes, one thread each.
        device: torch device; anything but `cpu` asks for one local worker.
        suite: strategies to choose from, in order.
        progress: hears how it goes on.
        through: a guarded system to play the requirements through as well.  That part begins anew in every run.

    Raises:
        RedoubtError: the policy, model or data is wrong (nothing is written), the folder cannot be written to, or the
            guarded system does not answer.
    """
    if device != "cpu" and (workers != 1 or on != "local"):
        raise PolicyError(f"device {device} takes one local worker", remedy="leave --workers and --on out")
    progress = progress or Silent()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    system = open_system(file.policy, file.base, file.place, device)
    clean = answers(system, file.place)
    train = training_data(file, system)

    store = TaskStore(folder)
    setting = Setting(file, system, clean, train, suite, store, progress, through)
    played = [GAMES[type(requirement)] for requirement in file.policy.requirements]
    plans: list[Played] = [
        game.plan(requirement, setting) for game, requirement in zip(played, file.policy.requirements, strict=True)
    ]
    for plan in plans:
        progress.planned(plan.requirement.id, sum(most for _, most in plan.chains))

    start = executor_for(on, workers, system, file.base)
    _forget_other(folder, file)
    write_atomically(folder / "policy.yaml", file.text.encode())
    clock = Stopwatch()
    execute(plans, system, store, start, progress, clock)

    concluded = [game.conclude(plan, setting) for game, plan in zip(played, plans, strict=True)]
    evidence = _evidence(system, [found for found, _ in concluded])
    tensors = {key: tensor for _, some in concluded for key, tensor in some.items()}
    write_atomically(folder / "examples.safetensors", safetensors.torch.save(tensors))
    timings: Json = {"machine": _machine(), "started": started, "seconds": clock.seconds}
    write_atomically(folder / "timings.json", canonical_json(timings))
    write_atomically(folder / "evidence.json", canonical_json(evidence))
    return evidence


def _forget_other(folder: Path, file: PolicyFile) -> None:
    """Remove the evidence on another policy: a run that is killed must not leave it beside this one's text."""
    kept = folder / "policy.yaml"
    try:
        if kept.is_file() and kept.read_bytes() != file.text.encode():
            (folder / "evidence.json").unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot be written to: {error.strerror or error}",
            Place(str(folder)),
            remedy="choose another folder with --output",
        ) from error


# ── write ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _evidence(system: System, requirements: Sequence[RequirementEvidence]) -> Evidence:
    policy, face = system.policy, system.model.face
    return Evidence(
        redoubt=__version__,
        system=policy.system,
        seed=policy.seed,
        digests=system.digests,
        versions=versions(),
        model=policy.model.source,
        data=policy.data.test.source,
        classes=tuple(face.name_of(label) for label in range(face.classes)),
        input_shape=face.shape,
        input_range=(face.low, face.high),
        requirements=tuple(requirements),
    )


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
