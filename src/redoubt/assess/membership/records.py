"""The records that are shown: members first, then others."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.assess.system import System
from redoubt.data import Dataset, load_data
from redoubt.models import Locate
from redoubt.records import DataError, MembershipRequirement, PolicyError, digest


@dataclass(frozen=True)
class Shown:
    """Members and others, an even number together.

    Attributes:
        x: float32 `[N, *shape]`, the members first.
        y: int64 `[N]`.
        members: how many of them the model was trained on.
        source: where the members are from.
        digest: of all of them.
    """

    x: Tensor
    y: Tensor
    members: int
    source: str
    digest: str

    def __len__(self) -> int:
        return len(self.y)


def load_shown(requirement: MembershipRequirement, system: System, locate: Locate) -> Shown:
    """Load members and others.  Where both are an odd number together, the last of the others is left out.

    Raises:
        PolicyError: the policy names no members.
        DataError: they cannot be read, do not fit the model, are too few, or are the same records.
    """
    data, face = system.policy.data, system.model.face
    source = requirement.members or data.train
    if source is None:
        raise PolicyError("membership needs records that the model was trained on", remedy="add train under data")
    members = load_data(source, face, system.base, lambda *keys: locate("members", *keys))
    others: Dataset = system.data
    if requirement.others is not None:
        others = load_data(requirement.others, face, system.base, lambda *keys: locate("others", *keys))
    if members.digest == others.digest:
        raise DataError(
            "members and others are the same records", locate("game"), remedy="name others that were held out"
        )
    kept = len(others) - (len(members) + len(others)) % 2
    if kept < 2 or len(members) < 2:
        raise DataError(
            f"{len(members)} members and {len(others)} others are too few", locate("game"), remedy="take more of both"
        )
    x, y = torch.cat([members.x, others.x[:kept]]), torch.cat([members.y, others.y[:kept]])
    return Shown(x, y, len(members), members.source, digest([members.digest, others.digest]))


def digest_of_record(x: Tensor) -> str:
    """`sha256:<hex>` over one record's values, little-endian float32."""
    return f"sha256:{hashlib.sha256(x.contiguous().numpy().astype('<f4', copy=False).tobytes()).hexdigest()}"
