"""From a policy to a rulebook: models loaded, detectors fitted, rules compiled."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from redoubt.data import load_data
from redoubt.detectors import Detector, build_detectors
from redoubt.models import Endpoint, Face, Locate, Model, load_model
from redoubt.models.endpoint import load_endpoint
from redoubt.monitor import Rules
from redoubt.policy import PolicyFile
from redoubt.records import SIGNALS, Guard, ModelError, ModelSource, RedoubtError, digest
from redoubt.records.guard import SecondModel
from redoubt.records.signals import Step
from redoubt.service.backends import PATIENCE, Backend, Embedded, Upstream
from redoubt.service.chain import Recall, Rulebook
from redoubt.service.identify import Identifier
from redoubt.service.stores.base import Store
from redoubt.service.versions import guard_of
from redoubt.supply.artefact import read_once
from redoubt.supply.signing.attest import check_evidence
from redoubt.supply.signing.bundle import MOST_BUNDLE
from redoubt.supply.signing.dsse import read_public_key

_Part = TypeVar("_Part")
_MOST_KEY = 2**16  # bytes of a PEM file
_KEPT = 2  # parts of each kind: those of the rulebook in force, and those of the one before


class Assembler:
    """Makes rulebooks, and keeps of the last ones what the next one can use: a change of rules loads no model again.

    Of models and detectors the last but one are kept too, so that a rollback is in force at once: nothing is loaded or
    fitted while a bad model answers.  That costs their memory, as long as the guard runs.

    Args:
        store: where fingerprints are remembered.
        cache: a folder for what is slow to fit.
    """

    def __init__(self, store: Store, cache: Path) -> None:
        self._store, self._cache = store, cache
        self._kept: dict[str, list[tuple[str, object]]] = {}  # by name, latest first

    def __call__(self, file: PolicyFile) -> Rulebook:
        """A rulebook of a policy that has a guard.

        Raises:
            RedoubtError: something in it cannot be loaded, fitted or compiled; what was assembled before still runs.
        """
        policy, base = file.policy, file.base
        guard = guard_of(file)
        rules = Rules.of(guard)
        wanted = frozenset[str]().union(*(rules.signals(tier) for tier in guard.tiers))
        said = digest(policy.model)
        model = self._part("model", said, lambda: _load(policy.model, base, lambda *keys: file.place("model", *keys)))
        _check_demand(file, guard, model)
        support = frozenset(name for name in wanted if SIGNALS[name].step is Step.SUPPORT)
        detectors = self._part(
            "detectors",
            digest([said, digest(guard.detectors), sorted(support), digest(policy.data)]),
            lambda: self._detectors(file, guard, model, support),
        )
        taps = tuple(sorted({tap for detector in detectors for tap in detector.taps}))
        backend = self._part("backend", digest([said, list(taps)]), lambda: _backend(model, taps))
        robust = self._robust(file, guard.robust) if guard.robust else None
        return Rulebook(
            name=policy.system,
            digest=digest(file.text.encode()),
            model=backend.digest(),
            guard=guard,
            face=model.face,
            identifier=self._part(
                "identifier", digest(guard.identify), lambda: Identifier(self._store, guard.identify.tokens, base)
            ),
            rules=rules,
            backend=backend,
            robust=robust,
            recall=self._recall(guard, model.face, wanted),
            detectors=tuple(detectors),
        )

    def _robust(self, file: PolicyFile, robust: SecondModel) -> Backend:
        key = digest([digest(file.policy.model), digest(robust)])
        return self._part("robust", key, lambda: _backend(_second(file, robust, "robust"), ()))

    def _recall(self, guard: Guard, face: Face, wanted: frozenset[str]) -> Recall:
        prints = guard.detectors.fingerprints
        distance = guard.detectors.query_distance if "query_distance" in wanted else None
        key = digest([repr(face), digest(prints), digest(distance) if distance else None])

        def remember() -> Recall:
            recall = Recall(self._store, face, prints, distance, self._store.salt())
            recall.catch_up()
            return recall

        return self._part("recall", key, remember, keep=1)  # a memory that does not follow is none to go back to

    def _detectors(self, file: PolicyFile, guard: Guard, model: Model, support: frozenset[str]) -> list[Detector]:
        second = guard.detectors.second_model
        train = file.policy.data.train
        return build_detectors(
            guard,
            model,
            _second(file, second, "detectors", "second_model") if second and "models_agree" in support else None,
            load_data(train, model.face, file.base, lambda *keys: file.place("data", "train", *keys))
            if train and support & {"credibility", "knn_confidence", "overlay_entropy"}
            else None,
            support,
            self._cache,
        )

    def _part(self, name: str, key: str, make: Callable[[], _Part], keep: int = _KEPT) -> _Part:
        kept = self._kept.setdefault(name, [])
        found = next((pair for pair in kept if pair[0] == key), None)
        if found is None:
            found = (key, make())
        self._kept[name] = [found, *(pair for pair in kept if pair[0] != key)][:keep]
        part: _Part = found[1]  # type: ignore[assignment]  # what `make` of this name gave before
        return part


def _check_demand(file: PolicyFile, guard: Guard, model: Model) -> None:
    """Refuse to serve a model of which no trusted attestation says that it holds what the policy requires."""
    if guard.demand is None:
        return
    demand = guard.demand
    try:
        key = read_public_key(read_once(file.base / demand.key, _MOST_KEY), demand.key)
        raw = read_once(file.base / demand.attestation, MOST_BUNDLE)
        check_evidence(raw, key, demand, file.policy, model.digest())
    except RedoubtError as error:
        raise ModelError(
            f"the model is not served: {error.what}", file.place("guard", "demand"), remedy=error.remedy
        ) from error


def _load(source: ModelSource, base: Path, locate: Locate) -> Model:
    if source.source.startswith(("http://", "https://")):
        return load_endpoint(source, locate, PATIENCE)
    return load_model(source, base, locate)


def _backend(model: Model, taps: tuple[str, ...]) -> Backend:
    return Upstream(model) if isinstance(model, Endpoint) else Embedded(model, taps)


def _second(file: PolicyFile, second: SecondModel, *where: str) -> Model:
    """Another model of the same face as the policy's."""
    own = {name: getattr(second, name) for name in SecondModel.model_fields}
    source = file.policy.model.model_copy(update=own)
    return _load(source, file.base, lambda *keys: file.place("guard", *where, *keys))
