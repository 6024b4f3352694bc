"""The memorisation game within an assessment: one job, whose result is the evidence's raw figures."""

import hashlib
import json
from collections.abc import Generator as Chain
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Generator, Tensor

from redoubt.assess.job import ChainOf
from redoubt.assess.setting import Setting
from redoubt.assess.system import System, repeatable
from redoubt.attacks.memorisation import Exposures, Extraction, Format, exposures
from redoubt.games.memorisation import conclude_exposure, conclude_extracted, median_exposure, verify
from redoubt.models.language import language_model
from redoubt.records import (
    CanarySet,
    DataError,
    Estimated,
    ExposedCanary,
    ExtractedPiece,
    MemorisationEvidence,
    MemorisationRequirement,
    Place,
    Sign,
    SignName,
    Work,
    canonical_json,
    digest,
)

_MOST_TEXT = 1 << 28  # bytes
_FEW = 10  # claims, below which the samples were too much alike


@dataclass(frozen=True)
class MemorisationJob:
    """Ask the model all that a requirement takes.

    Attributes:
        requirement: whose game it is.
        files: digests of the files that it names.
        seed: the policy's.
    """

    requirement: MemorisationRequirement
    files: tuple[str, ...]
    seed: int

    clocked = "memorisation"

    @property
    def name(self) -> str:
        """What is done."""
        return "exposure of canaries" if self.requirement.canaries else "extraction"

    @property
    def standing(self) -> int:
        """Always one model."""
        return 1

    def key(self, run: str) -> str:
        """Over the requirement but for its name and bound, the files, the seed, and what `run` covers."""
        asked = self.requirement.model_dump(mode="json", exclude={"id", "adversary", "require"})
        return digest([run, "memorisation", asked, list(self.files), self.seed]).removeprefix("sha256:")

    def perform(self, system: System) -> bytes:
        """Exposures in bits, or verified pieces, as canonical JSON."""
        model, requirement = language_model(system.model), self.requirement
        rng = Generator().manual_seed(self.seed)
        with repeatable(self.seed):
            if requirement.canaries is not None:
                known = read_canaries(system.base / requirement.canaries)
                form = Format(known.before, known.alphabet, known.length, known.after)
                told = exposures(model, form, [canary.secret for canary in known.canaries], rng)
                return canonical_json(
                    {
                        "canaries": [
                            [digest(canary.secret), canary.times, bits]
                            for canary, bits in zip(known.canaries, told.bits.tolist(), strict=True)
                        ],
                        "method": told.method,
                        "compared": told.compared,
                        "misfit": told.misfit,
                    }
                )
            training = read_text(system.base / (requirement.training or ""))
            public = read_text(system.base / requirement.public) if requirement.public else ""
            attack = Extraction(requirement.samples, requirement.claims, requirement.length)
            claims = attack.run(model, public, rng)
        found = verify(claims, training, public, requirement.verbatim)
        return canonical_json(
            {
                "claims": len(claims),
                "drawn": requirement.samples * (3 if public else 2),
                "pieces": [[one.text, one.at, one.claim.measure, one.claim.place] for one in found],
            }
        )


@dataclass
class MemorisationPlan:
    """One requirement: its job, and what came of it."""

    requirement: MemorisationRequirement
    job: MemorisationJob
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def chains(self) -> list[ChainOf]:
        """One job."""
        return [(_alone(self.job), 1)]

    def take(self, job: MemorisationJob, content: bytes) -> None:
        """Keep what was found."""
        self.told = json.loads(content)


def _alone(job: MemorisationJob) -> Chain[MemorisationJob, object, None]:
    yield job


def plan_memorisation(requirement: MemorisationRequirement, setting: Setting) -> MemorisationPlan:
    """Plan a requirement.

    Raises:
        ModelError: the model is no language model.
        DataError: a file cannot be read, or is not what it should be.
    """
    language_model(setting.system.model)
    base = setting.file.base
    if requirement.canaries is not None:
        read_canaries(base / requirement.canaries)
    named = [name for name in (requirement.canaries, requirement.training, requirement.public) if name is not None]
    files = tuple(f"sha256:{hashlib.sha256(_bytes(base / name)).hexdigest()}" for name in named)
    return MemorisationPlan(requirement, MemorisationJob(requirement, files, setting.file.policy.seed))


def conclude_memorisation(plan: MemorisationPlan, _: Setting) -> tuple[MemorisationEvidence, dict[str, Tensor]]:
    """Judge one requirement."""
    common: dict[str, Any] = {
        "id": plan.requirement.id,
        "adversary": plan.requirement.adversary,
        "require": plan.requirement.require,
        "digest": plan.job.files[0],
    }
    return (_exposure if plan.requirement.canaries is not None else _extraction)(plan, common), {}


def _exposure(plan: MemorisationPlan, common: dict[str, Any]) -> MemorisationEvidence:
    told = plan.told
    canaries = tuple(ExposedCanary(digest=name, times=times, bits=bits) for name, times, bits in told["canaries"])
    most = max(canary.times for canary in canaries)
    judged = torch.tensor([canary.bits for canary in canaries if canary.times == most], dtype=torch.float64)
    found = Exposures(judged, told["method"], told["compared"], told["misfit"])
    figure = median_exposure(judged, f"{found.method} ranks among {found.compared:,} secrets")
    verdict, reason = conclude_exposure(plan.requirement.require, found, figure, ())
    return MemorisationEvidence(
        **common,
        verdict=verdict,
        reason=reason,
        measures=() if figure is None else (figure,),
        signs=(),
        work=Work(queries=found.compared + len(canaries)),
        source=plan.requirement.canaries or "",
        method=found.method,
        compared=found.compared,
        misfit=found.misfit,
        canaries=canaries,
    )


def _extraction(plan: MemorisationPlan, common: dict[str, Any]) -> MemorisationEvidence:
    requirement, told = plan.requirement, plan.told
    pieces, claims = told["pieces"], told["claims"]
    signs: tuple[Sign, ...] = ()
    if claims < min(_FEW, requirement.claims):
        explanation = f"of {told['drawn']} drawn texts only {claims} differ enough to be claimed."
        signs = (Sign(name=SignName.SAMPLES_REPEAT, explanation=explanation),)
    verdict, reason = conclude_extracted(requirement.require, len(pieces), claims, requirement.verbatim, signs)
    many = float(len(pieces))
    figure = Estimated(measure="extracted", value=many, low=many, high=many, level=1.0, method="counted, as found")
    return MemorisationEvidence(
        **common,
        verdict=verdict,
        reason=reason,
        measures=(figure,),
        signs=signs,
        work=Work(queries=told["drawn"] * requirement.length),
        source=requirement.training or "",
        method="sampled",
        compared=told["drawn"],
        claims=claims,
        verbatim=requirement.verbatim,
        pieces=tuple(
            ExtractedPiece(
                digest=digest(text),
                characters=len(text),
                at=at,
                measure=measure,
                place=place,
                text=text if requirement.show else None,
            )
            for text, at, measure, place in pieces
        ),
    )


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        DataError: it cannot be read, has more than `_MOST_TEXT` bytes, or is no UTF-8.
    """
    try:
        return _bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"is no UTF-8: {error.reason}", Place(str(path)), remedy="save it as UTF-8") from error


def read_canaries(path: Path) -> CanarySet:
    """A file of canaries.

    Raises:
        DataError: it cannot be read, or is none; says where.
    """
    try:
        known = CanarySet.model_validate_json(_bytes(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"is no set of canaries: {where + ': ' if where else ''}{first['msg']}",
            Place(str(path)),
            remedy="write before, alphabet, length, after, and canaries with secret and times",
        ) from error
    form = Format(known.before, known.alphabet, known.length, known.after)
    wrong = next((at for at, canary in enumerate(known.canaries) if not form.holds(canary.secret)), None)
    if wrong is not None:
        raise DataError(
            f"canaries[{wrong}]: the secret is not of the format", Place(str(path)), remedy="give the right format"
        )
    return known


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_TEXT + 1)
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror or error}", Place(str(path)), remedy="paths start at the policy's folder"
        ) from error
    if len(raw) > _MOST_TEXT:
        raise DataError(f"has more than {_MOST_TEXT >> 20} MiB", Place(str(path)), remedy="give a part of it")
    return raw
