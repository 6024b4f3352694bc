"""Whether the guard's memory stays flat over a million requests: the whole chain in one process, without a socket.

Batches of 64 requests with binary tensors, each with an input that was never sent before, go through all nine steps;
the durable log and the SQLite store, with its million fingerprints, are on disk as in production.

python bench/guard_memory.py [requests]
"""

import json
import sys
import time

import psutil
import torch

from common import write
from guard_ground import new_keys, prepare, remember, store_of, variants
from redoubt.service.chain import Request
from redoubt.service.guard import Guard

BATCH = 64
EVERY = 50_000
_MIB = 2**20


def main(total: int) -> None:
    """Play, and keep the resident memory after every so many requests."""
    torch.set_num_threads(1)
    policy = prepare("guard-memory")
    store = store_of(policy)
    remember(store)
    keys = [f"Bearer {key}" for key in new_keys(store)["client"]]
    store.close()
    guard = Guard.open(policy)
    guard.follow()
    process = psutil.Process()
    begin, done = time.perf_counter(), 0
    series: list[dict[str, float]] = []
    statuses: dict[int, int] = {}
    tensor = {"name": "input", "shape": [1, 1, 28, 28], "datatype": "FP32", "parameters": {"binary_data_size": 3136}}
    head = json.dumps({"inputs": [tensor]}).encode()
    for x in variants(total, seed=2**31):
        for at in range(0, len(x), BATCH):
            bodies = [head + row.tobytes() for row in x[at : at + BATCH]]
            requests = [
                Request(keys[(done + place) % len(keys)], guard.name, None, body, "application/json", len(head))
                for place, body in enumerate(bodies)
            ]
            for reply in guard.run(requests):
                statuses[reply.status] = statuses.get(reply.status, 0) + 1
            before, done = done, done + len(requests)
            if before // EVERY != done // EVERY or done == total or not before:
                series.append(
                    {
                        "requests": done,
                        "rss_mib": process.memory_info().rss / _MIB,
                        "seconds": time.perf_counter() - begin,
                    }
                )
                print(series[-1], statuses, flush=True)
                write("guard_memory", {"batch": BATCH, "statuses": statuses, "series": series})
    guard.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
