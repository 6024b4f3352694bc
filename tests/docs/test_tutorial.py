"""The tutorial, run as it is read: its files written, its commands and snippets executed, in order, in one folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from redoubt.policy import read_policy
from redoubt.records import SignName

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    title: str
    text: str


BLOCKS = [Block(*match.groups("")) for match in FENCE.finditer(TEXT)]


@pytest.fixture
def reader(tmp_path, monkeypatch, capsys):
    """Somebody who reads the tutorial in an empty folder: takes blocks one after the other."""
    from redoubt.cli.app import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known, threads = set(sys.modules), torch.get_num_threads()
    torch.set_num_threads(1)  # small networks on shared cores
    session: dict[str, object] = {"__name__": "tutorial"}
    said = ""

    def command(line):
        nonlocal said
        words = shlex.split(line, comments=True)
        promised = re.search(r"# exit code (\d)$", line)
        if words[0] == "redoubt":
            monkeypatch.setattr(sys, "argv", [*words, *(["--workers", "1"] if words[1] == "assess" else [])])
            code = run()
            printed = capsys.readouterr()
            said = printed.out + printed.err
        else:
            program = [sys.executable, *words[1:]] if words[0] == "python" else [sys.executable, "-m", *words]
            threads = os.environ | {"OMP_NUM_THREADS": "1"}
            ran = subprocess.run(program, capture_output=True, text=True, check=False, env=threads)
            code, said = ran.returncode, ran.stdout + ran.stderr
        assert code == (int(promised[1]) if promised else 0), f"{line}\n{said}"

    def read(block):
        match block:
            case Block(title=title) if title:
                Path(title).write_text(block.text)
            case Block(language="sh"):
                for line in block.text.splitlines():
                    command(line)
            case Block(language="python"):
                exec(compile(block.text, "tutorial.md", "exec"), session)
            case Block(language="text"):
                assert " ".join(block.text.split()) in " ".join(said.split())

    yield read
    torch.set_num_threads(threads)
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) in {str(tmp_path / f"{name}.py")}:
            del sys.modules[name]


@pytest.mark.filterwarnings("ignore")  # the ONNX exporter's own
def test_everything_on_the_page_works_in_its_order(reader, tmp_path):
    for module in ("onnxscript", "onnxruntime", "skops"):
        pytest.importorskip(module)
    for block in BLOCKS:
        reader(block)
    evidence = tmp_path / "digits.evidence"
    section = TEXT.split("The folder `digits.evidence` holds:")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
    assert listed | {"policy.yaml"} == {f.name + "/" * f.is_dir() for f in evidence.iterdir()}
    named = set(re.findall(r"evidence/(report\.[\w.]+)", section))
    assert named == {"report.sarif", "report.junit.xml"}
    assert all((evidence / name).is_file() for name in named)
    assert read_policy(tmp_path / "digits.hardened.yaml").policy.model.weights == "digits.hardened/model.safetensors"


def test_the_page_has_every_kind_of_block():
    kinds = [(block.language, bool(block.title)) for block in BLOCKS]
    assert kinds.count(("sh", False)) >= 9
    assert kinds.count(("python", False)) >= 5
    assert kinds.count(("python", True)) >= 5
    assert kinds.count(("yaml", True)) == 5
    assert ("text", False) in kinds
    assert TEXT.count("\n```") == 2 * len(BLOCKS)


def test_every_sign_is_explained():
    rows = re.findall(r"^\| `([a-z-]+)` \|", TEXT.split("## When it is undecided")[1].split("\n## ")[0], re.MULTILINE)
    assert rows == [name.value for name in SignName]
