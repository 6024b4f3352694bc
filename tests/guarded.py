"""A guard over the small digit reader, opened in a folder, with keys and a clock that tests can turn."""

import contextlib
import json

import numpy as np
from sklearn.datasets import load_digits

from redoubt.service.chain import Request
from redoubt.service.guard import Guard
from redoubt.service.identify import make_key
from redoubt.service.inprocess import VirtualClock

START = 1_790_000_000.0  # a Monday in 2026

GUARD = """\
guard:
  identify: {{keys: {keys}}}
  tiers:
    public: {{observes: label, queries_per_day: {per_day}}}
    trusted: {{observes: scores, queries_per_day: 100000}}
    rounded: {{observes: scores, top: 2, decimals: 2, queries_per_day: 1000}}
  admit:
{admit}
  detectors: {{fingerprints: {{remember: 5000}}}}
  lockout: {{strikes: 2, lasts: 1 h, forgets: 1 d}}
  record: {{log: audit/, keep: [digest, fingerprint, decision, signals]}}
"""
ADMIT = """\
    - {name: sure, rule: "signals.confidence >= 0.3", otherwise: refuse}
    - {name: not probing, rule: "signals.similar_queries < 3", otherwise: lock}
    - {name: not probing together, rule: "signals.similar_queries_all < 3", otherwise: refuse}
"""


def with_guard(path, admit=ADMIT, per_day=1000, keys="keys.db", extra=""):
    """Add a guard to a policy file; returns it."""
    path.write_text(path.read_text() + GUARD.format(admit=admit.rstrip("\n"), per_day=per_day, keys=keys) + extra)
    return path


@contextlib.contextmanager
def opened(path, clock=None):
    """The guard of a policy file, and the clock it lives by."""
    clock = clock or VirtualClock(START)
    guard = Guard.open(path, clock.now)
    guard.clock = clock
    try:
        yield guard
    finally:
        guard.close()


def new_key(guard, tier="public", scopes=("client",)):
    """The Authorization header of a new key."""
    key = make_key(tier, frozenset(scopes), "test", guard.clock.now())
    guard.store.add_key(key.stored, "test")
    return f"Bearer {key.text}"


def digits(count, seed=0):
    """Some digits, float32 `[count, 1, 8, 8]`."""
    x = load_digits().data.astype(np.float32).reshape(-1, 1, 8, 8) / 16
    return x[np.random.default_rng(seed).permutation(len(x))[:count]]


def body(x, name="r1", **parameters):
    """An inference request."""
    tensor = {"name": "input", "shape": list(x.shape), "datatype": "FP32", "data": x.reshape(-1).tolist()}
    return json.dumps({"id": name, "inputs": [tensor], "parameters": parameters}).encode()


def request(credential, x, model="digits", **parameters):
    """A request for the chain."""
    return Request(credential, model, None, body(x, **parameters))


def ask(guard, credential, x, **parameters):
    """Status and JSON of one request."""
    (reply,) = guard.run([request(credential, x, **parameters)])
    return reply.status, json.loads(reply.body)
