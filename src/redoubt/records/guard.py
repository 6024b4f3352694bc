"""The guard's part of a policy: who may ask, how much, what must be true of a query, what is kept.

Read with DESIGN section 5: the steps are 1 identify, 2 budget, 3 sanitise, 4 recall, 5 infer, 6 support, 7 decide,
8 minimise, 9 record.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from redoubt.records.base import Name, Record
from redoubt.records.quantities import Seconds
from redoubt.records.trust import Demand, Sha256, Signature

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]
Duration = Annotated[Seconds, Field(gt=0)]


# ── 1 identify ───────────────────────────────────────────────────────────────────────────────────────────────────


class Tokens(Record):
    """Signed tokens (JWT, RFC 7519) of an identity provider, checked with its public key."""

    public_key: str = Field(description="A PEM file with the provider's public key (RSA, EC or Ed25519).")
    issuer: str = Field(description="The `iss` claim that a token must carry.")
    audience: str = Field(description="The `aud` claim that a token must carry.")
    account: str = Field(default="sub", description="The claim that names the account.")
    tier: str = Field(default="tier", description="The claim that names the tier.")


class Identify(Record):
    """How a caller proves who they are.  Nobody is served without it."""

    keys: str = Field(
        description="Where API keys, standings and fingerprints are kept: a SQLite file (`keys.db`), or "
        "`postgresql://user@host/database` when several replicas share them; the password comes from `PGPASSWORD`, "
        "never from a policy."
    )
    tokens: Tokens | None = Field(default=None, description="Accept an identity provider's tokens beside API keys.")


# ── 2 budget, 8 minimise ─────────────────────────────────────────────────────────────────────────────────────────


class Tier(Record):
    """What one class of customers may ask, and may see of an answer."""

    observes: Literal["label", "scores"] = Field(
        default="label", description="`label`: the class alone. `scores`: the scores of the classes as well."
    )
    top: Count | None = Field(default=None, description="Show the scores of so many best classes only.")
    decimals: Annotated[int, Field(ge=0, le=15)] | None = Field(
        default=None, description="Round scores to so many decimals."
    )
    queries_per_day: Count = Field(default=1000, description="Inputs that one account may send in a day (UTC).")
    queries_per_minute: Count | None = Field(
        default=None,
        description="Inputs that one account may send in a minute on average: a token bucket that holds so many.",
    )
    model: Literal["default", "robust"] = Field(
        default="default", description="Which model answers this tier: the policy's, or `guard.robust`."
    )


class Lockout(Record):
    """What a rule's `otherwise: lock` does to an account: strikes, and the lock that enough of them bring."""

    strikes: Count = Field(default=1, description="So many strikes lock the account.")
    lasts: Duration = Field(default=3600.0, description="How long a lock lasts: `1 h`.")
    forgets: Duration = Field(default=86400.0, description="How long it takes until one strike is forgotten: `1 d`.")


# ── 4 recall, 6 support ──────────────────────────────────────────────────────────────────────────────────────────


class Fingerprints(Record):
    """Query fingerprints (Li et al. 2022, Blacklight): hashed windows of the quantised input."""

    window: Count | None = Field(
        default=None,
        description="Consecutive values in a window. A sixteenth of the input when absent, but at least 8 and at most "
        "50, so that different clean inputs share few windows.",
    )
    step: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.2, description="Size of a quantisation step, as a share of the input range."
    )
    hashes: Annotated[int, Field(ge=8, le=256)] = Field(default=48, description="Hashes kept of one query.")
    alike: Share = Field(default=0.5, description="Share of hashes in common that makes two queries alike.")
    remember: Count = Field(default=1_000_000, description="Latest queries that are remembered, of all accounts.")


class QueryDistance(Record):
    """Mean distance to the nearest earlier queries of the same account (Chen, Carlini and Wagner 2019)."""

    neighbours: Count = Field(default=50, description="Over so many nearest earlier queries the distance is averaged.")
    remember: Count = Field(default=1000, description="Latest queries of an account that are remembered.")


class DeepKnn(Record):
    """Deep k-nearest neighbours (Papernot and McDaniel 2018): whether the training data support the answer."""

    layers: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Modules (torch) or tensors (ONNX) of the model whose outputs are compared. Chosen when absent.",
    )
    neighbours: Count = Field(default=50, description="Nearest training points in each layer.")
    calibration: Annotated[int, Field(ge=20)] = Field(
        default=2000, description="Training examples held out of the neighbours, to calibrate credibility on."
    )
    dimensions: Count = Field(default=32, description="Principal components to which a layer's output is reduced.")


class Squeezing(Record):
    """Feature squeezing (Xu, Evans and Qi 2018): whether the scores move when detail is taken away."""

    bits: Annotated[int, Field(ge=1, le=8)] = Field(default=1, description="Bits per value that are left.")
    median: Annotated[int, Field(ge=1, le=9)] = Field(default=2, description="Side of the median filter, in pixels.")


class Strip(Record):
    """STRIP (Gao et al. 2019): whether the answer survives clean inputs laid over this one."""

    overlays: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=16,
        description="Clean training inputs that are laid over each query: so many further passes of the model.",
    )


class SecondModel(Record):
    """Another model of the same face."""

    source: str = Field(description="As `model.source`.")
    weights: str | None = Field(default=None, description="As `model.weights`.")
    digest: Sha256 | None = Field(default=None, description="As `model.digest`.")
    signature: Signature | None = Field(default=None, description="As `model.signature`.")


class Frames(Record):
    """Agreement over the latest frames of one stream, named by the request's `stream` parameter."""

    window: Annotated[int, Field(ge=2, le=256)] = Field(default=5, description="Frames that are compared.")


class Detectors(Record):
    """Settings of the signals.  A detector runs when a rule mentions one of its signals."""

    fingerprints: Fingerprints = Field(default=Fingerprints(), description="`similar_queries` and its kin.")
    query_distance: QueryDistance = Field(default=QueryDistance(), description="`query_distance`.")
    deep_knn: DeepKnn = Field(default=DeepKnn(), description="`credibility` and `knn_confidence`.")
    squeezing: Squeezing = Field(default=Squeezing(), description="`squeeze_gap`.")
    strip: Strip = Field(default=Strip(), description="`overlay_entropy`.")
    second_model: SecondModel | None = Field(default=None, description="The other model of `models_agree`.")
    frames: Frames = Field(default=Frames(), description="`frames_agree`.")


# ── 7 decide ─────────────────────────────────────────────────────────────────────────────────────────────────────

Otherwise = Literal["refuse", "lock", "degrade", "escalate"]


class Rule(Record):
    """What must be true of a query for its answer to leave."""

    name: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="What the rule is called in answers.")
    rule: Annotated[str, Field(min_length=1, max_length=1000)] = Field(
        description="A CEL expression over `signals`: `signals.credibility >= 0.05`. Unknown is false."
    )
    otherwise: Otherwise = Field(
        default="refuse",
        description="`refuse` the query; `lock`: refuse it and give the account a strike; `degrade`: show the label "
        "alone; `escalate`: let `guard.robust` answer.",
    )
    tiers: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="The tiers that the rule binds. All of them when absent."
    )


# ── 9 record ─────────────────────────────────────────────────────────────────────────────────────────────────────

Kept = Literal["digest", "fingerprint", "decision", "signals", "input"]


class RecordKeeping(Record):
    """The audit log, and what an entry of it holds."""

    log: str = Field(description="Folder of the tamper-evident log. Its signing key lies beside it, as `<log>.key`.")
    keep: tuple[Kept, ...] = Field(
        default=("digest", "fingerprint", "decision"),
        description="`digest` of the input, its `fingerprint`, the `decision` and why, all `signals`, and the `input` "
        "itself, which is kept only if named here.",
    )
    witnesses: tuple[str, ...] = Field(
        default=(), description="Verifier keys (`name+hash+key`) of witnesses who cosign checkpoints."
    )


class Guard(Record):
    """What `redoubt guard` enforces."""

    identify: Identify = Field(description="How callers prove who they are.")
    tiers: Annotated[dict[Name, Tier], Field(min_length=1)] = Field(description="Classes of customers.")
    admit: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=64)] = Field(
        description="Rules, as in Kubernetes admission policies: all must be true, and unknown is false."
    )
    lockout: Lockout = Field(default=Lockout(), description="What `otherwise: lock` does.")
    detectors: Detectors = Field(default=Detectors(), description="Settings of the signals.")
    robust: SecondModel | None = Field(default=None, description="The model that answers escalated queries.")
    demand: Demand | None = Field(
        default=None, description="Evidence without which the model is not served. None is demanded when absent."
    )
    record: RecordKeeping = Field(description="What is written down, and where.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [rule.name for rule in self.admit]
        for at, rule in enumerate(self.admit):
            if rule.name in names[:at]:
                raise ValueError(f"admit[{at}].name: another rule is called '{rule.name}'; write a name of its own")
            for bound in rule.tiers or ():
                if bound not in self.tiers:
                    known = " or ".join(f"'{name}'" for name in self.tiers)
                    raise ValueError(f"admit[{at}].tiers: '{bound}' is not under tiers; write {known}")
            if rule.otherwise == "escalate" and self.robust is None:
                raise ValueError(
                    f"admit[{at}].otherwise: escalate needs the robust model; write robust: {{source: …}} under guard"
                )
        for name, tier in self.tiers.items():
            if tier.model == "robust" and self.robust is None:
                raise ValueError(f"tiers: '{name}' needs the robust model; write robust: {{source: …}} under guard")
        return self
