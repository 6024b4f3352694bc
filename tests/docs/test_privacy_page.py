"""The page on privacy: its program runs, its ledger is read, its events are all that there are."""

import re
from pathlib import Path

from redoubt.bounds.privacy import parse_ledger, read_ledger, spend
from redoubt.bounds.privacy.events import KINDS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")


def test_the_program_of_the_page_trains_within_its_epsilon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train, learn, *_ = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names = {}
    exec(train.replace("torch.rand(2000", "torch.rand(200").replace("torch.arange(2000)", "torch.arange(200)"), names)
    exec(learn, names)
    assert names["both"].shape == (200, 81 * 7 * 7 + 64 * 7 * 7)
    assert [event.kind for event in names["ledger"].events].count("public-training") == 1
    spent = spend(read_ledger(tmp_path / "ledger.json"), 1e-5)
    assert 2.9 < spent.epsilon <= 3.0


def test_the_ledger_of_the_page_is_sound():
    ledger = parse_ledger(re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)[1].encode(), "privacy.md")
    assert [event.on for event in ledger.events].count("opted-in") == 1


def test_every_event_stands_in_the_page():
    assert tuple(re.findall(r"^\| `([\w-]+)` \|", TEXT.split("\n## In a policy")[0], re.MULTILINE)) == KINDS
