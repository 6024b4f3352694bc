"""The guard's stack with every step of the guard off, for comparison only: this is what a guard must never be.

The same web application, batching, protocol, back end and network; nobody is identified, nothing is measured, decided
or recorded.

python bench/guard_bare.py POLICY PORT
"""

import gc
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from redoubt.models import load_model
from redoubt.policy import read_policy
from redoubt.records.canonical import Json
from redoubt.service.backends import Embedded
from redoubt.service.chain import VERSION, Reply, Request
from redoubt.service.protocol import BadRequest, Limits, decode, encode
from redoubt.service.web import create_app, server


class Bare:
    """A `redoubt.service.web.Guarded` that guards nothing."""

    versions = (VERSION,)

    def __init__(self, policy: Path) -> None:
        file = read_policy(policy)
        model = load_model(file.policy.model, file.base, file.place)
        self.name, self._face = file.policy.system, model.face
        self._backend = Embedded(model)
        self.most_bytes, self.log = Limits.of(model.face).body, policy.parent

    def run(self, requests: list[Request]) -> list[Reply]:
        """Decode, infer, encode."""
        asked = [decode(each.body, each.content_type, each.header_length, self._face) for each in requests]
        labels = self._backend.infer(np.concatenate([each.x for each in asked])).scores.argmax(axis=1)
        replies, begin = [], 0
        for each in asked:
            mine = labels[begin : begin + len(each.x)]
            begin += len(mine)
            body, headers = encode(each, self.name, {"label": mine}, {})
            replies.append(Reply(200, body, headers))
        return replies

    def metadata(self) -> Mapping[str, Json]:
        """None: nobody asks."""
        return {}

    def unready(self) -> str | None:
        """Always ready."""
        return None

    def authorise(self, credential: str | None, scope: Literal["auditor", "admin"]) -> None:
        """Nobody is anybody here."""
        raise BadRequest(403, "nobody is known here")


if __name__ == "__main__":
    # all as `redoubt guard` does
    torch.set_num_threads(1)
    sys.setswitchinterval(2e-4)
    app = create_app(Bare(Path(sys.argv[1])))
    gc.freeze()
    server(app, "127.0.0.1", int(sys.argv[2])).run()
