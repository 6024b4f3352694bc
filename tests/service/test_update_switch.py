"""Kills while the guard switches between versions: no request is lost, and none is answered by two versions.

What is promised, and what these tests hold the guard to:

- A request whose connection breaks, or that is answered 503, may be sent again: the client does so, under the same id,
  and gets one answer.  None goes without.
- All inputs of a request are answered by one version, which is the one that its entries in the log name.
- The answer that reached the client stands in the log, once, where its receipt says.  A request that was decided when
  the guard was killed, before its answer left, has an entry as well; nobody got that answer, and it may come from the
  version before.  So for one id the log has one answer that was received, and at most as many entries as it was sent.
"""

import contextlib
import json
import random
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import planted
from guarded import digits, with_guard
from redoubt.policy import read_policy
from redoubt.service.stores import open_store
from redoubt.service.update.force import in_force, roll_back, switch
from redoubt.service.update.shelf import Shelf
from running import PATIENCE, Caller, Nursery, keys, recorded, supervised, until, verified

SURE = '    - {name: sure, rule: "signals.confidence >= 0.01", otherwise: refuse}'
ROWS = 5
X = digits(1700)


@dataclass
class Asked:
    """One request, sent until it was answered."""

    name: str
    first: int
    tries: int
    answer: object


class Stubborn:
    """Customers who send each request until it is answered, as the guard's documentation tells them to."""

    def __init__(self, port, keys):
        self.done, self._stopped = [], threading.Event()
        self.unanswered = []
        self._threads = [
            threading.Thread(target=self._play, args=(Caller(port, key), who), daemon=True)
            for who, key in enumerate(keys)
        ]

    def _play(self, caller, who):
        number = 0
        while not self._stopped.is_set():
            name, first = f"{who}-{number}", (who * 389 + number * ROWS) % (len(X) - ROWS)
            tries, answer, patience = 0, None, time.monotonic() + 4 * PATIENCE
            while answer is None or answer.status in (0, 503):
                if time.monotonic() > patience:
                    self.unanswered.append(name)
                    return
                tries += 1
                answer = caller.ask(X[first : first + ROWS], name=name)
                if answer.status in (0, 503):
                    time.sleep(0.02)
            self.done.append(Asked(name, first, tries, answer))
            number += 1
        caller.close()

    def more(self, count, said):
        before = len(self.done)
        until(lambda: len(self.done) >= before + count, said)

    def until_answered_by(self, answers, said):
        """Wait until the latest answer is of the version that answers so."""

        def latest():
            each = self.done[-1]
            labels = json.loads(each.answer.text)["outputs"][0]["data"]
            return np.array_equal(labels, answers[each.first : each.first + ROWS])

        until(latest, said)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join(5 * PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def versions(write):
    """A guarded policy, the text of another version, and what each of the two answers to every digit.

    The other model gives every input another class, so that an answer tells who gave it.
    """
    path = with_guard(write(), admit=SURE, per_day=10_000_000)
    weights = load_file(path.parent / "reader.safetensors")
    other = weights | {key: weights[key].roll(1, 0) for key in ("second.weight", "second.bias")}
    save_file(other, path.parent / "other.safetensors")
    answers = []
    for state in (weights, other):
        module = planted.Reader()
        module.load_state_dict(state)
        with torch.no_grad():
            answers.append(module(torch.from_numpy(X)).argmax(dim=1).numpy())
    assert not (answers[0] == answers[1]).any()
    return path, read_policy(path).with_weights("other.safetensors"), answers


def in_store(path):
    file = read_policy(path)
    store = open_store(file.policy.guard.identify.keys, file.base)
    try:
        return store.latest_version()
    finally:
        store.close()


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_during_a_switch_no_request_is_lost_and_none_is_answered_by_two_versions(versions, kills):
    path, text, (old, new) = versions
    moments, shelf = random.Random(1), Shelf(path)
    with contextlib.closing(Nursery()) as nursery, supervised(path, nursery) as guard:
        with Stubborn(guard.port, keys(path, 4)) as customers:
            customers.more(20, guard.said)
            switch(in_force(read_policy(path)), text, "update undisturbed", time.time())
            customers.until_answered_by(new, guard.said)
            roll_back(read_policy(path), shelf, time.time())
            customers.until_answered_by(old, guard.said)
            assert {each.tries for each in list(customers.done)} == {1}  # without a kill, nobody notices
            for kill in range(kills):
                if kill % 2 == 0:
                    switch(in_force(read_policy(path)), text, f"update {kill}", time.time())
                else:
                    assert roll_back(read_policy(path), shelf, time.time()) == (f"{kill - 1}", True)
                time.sleep(moments.uniform(0, 1.3))  # it looks once a second: some are killed before, some after
                guard.kill()
                guard.ready()
                customers.more(10, guard.said)
            customers.more(20, guard.said)
            assert guard.starts == kills + 1
        assert guard.stop() == 0
    done = customers.done
    assert customers.unanswered == []
    assert {each.answer.status for each in done} == {200}
    entries = recorded(path.parent / "audit", [each.answer for each in done])
    by_name = {}
    for at, entry in enumerate(entries):
        if entry.kind == "decision":
            by_name.setdefault((entry.account, entry.request), []).append((at, entry))
    digests, sent_again = set(), 0
    for each in done:
        labels = json.loads(each.answer.text)["outputs"][0]["data"]
        mine = [entries[index] for index, _ in each.answer.receipts]
        rows = slice(each.first, each.first + ROWS)
        assert len(mine) == ROWS
        assert {entry.request for entry in mine} == {each.name}
        assert len({(entry.model, entry.policy) for entry in mine}) == 1  # one version for all inputs
        version = [np.array_equal(labels, answers[rows]) for answers in (old, new)]
        assert sum(version) == 1  # all of them are that version's answers
        digests.add((mine[0].model, version.index(True)))
        assert [entry.label for entry in mine] == labels
        whole = by_name[mine[0].account, each.name]
        received = {index for index, _ in each.answer.receipts}
        assert received <= {at for at, _ in whole}
        assert len(whole) <= ROWS * each.tries  # what was sent once is decided once
        sent_again += each.tries > 1
    assert len(digests) == 2  # each digest in the log gave one version's answers, and both answered
    assert sent_again
    assert len({each.name for each in done}) == len(done)
    content, said = verified(path.parent / "audit")
    assert content, said
    changes = [entry for entry in entries if entry.kind in ("start", "reload", "rollback")]
    assert changes[-1].policy == in_store(path).digest  # what was put in force last is what was served last
