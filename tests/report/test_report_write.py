"""All reports of a folder: together, whole, the same every time; by hand and by the command line."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from ruamel.yaml import YAML
from sample import COMMAND, POLICY, TIMINGS, image_case, table_case, write_folder

from redoubt.records import Place, StorageError, Verdict
from redoubt.report import verdict_table, write_reports
from redoubt.report.model_index import render_model_index

CASE = image_case()
NAMES = {"html": "report.html", "junit": "report.junit.xml", "sarif": "report.sarif", "model-index": "model-index.yaml"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "evidence", CASE, TIMINGS)


def test_writes_beside_the_evidence(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert write_reports(folder, COMMAND, {}) == {kind: folder / name for kind, name in NAMES.items()}
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(after) == set(before) | set(NAMES.values())
    assert all(after[name] == content for name, content in before.items())


def test_same_evidence_same_bytes(folder: Path) -> None:
    first = {kind: path.read_bytes() for kind, path in write_reports(folder, COMMAND, {}).items()}
    script = "import sys; from pathlib import Path; from redoubt.report import write_reports; "
    script += "write_reports(Path(sys.argv[1]), sys.argv[2], {})"
    environment = os.environ | {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", script, str(folder), COMMAND], check=True, env=environment)
    assert {kind: (folder / name).read_bytes() for kind, name in NAMES.items()} == first


def test_a_report_that_cannot_be_written_leaves_nothing_half_done(folder: Path) -> None:
    (folder / "report.sarif").mkdir()
    with pytest.raises(StorageError, match="cannot write") as caught:
        write_reports(folder, COMMAND, {})
    assert str(folder / "report.sarif") in str(caught.value)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


# ── model-index ──────────────────────────────────────────────────────────────────────────────────────────────────


def model_index(content: bytes) -> list[dict[str, object]]:
    """As the Hub reads it: YAML 1.1."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    loaded: dict[str, list[dict[str, object]]] = yaml.load(content.decode())
    assert list(loaded) == ["model-index"]
    return loaded["model-index"]


def test_model_index_has_the_documented_shape() -> None:
    (entry,) = model_index(render_model_index(CASE[0]))
    assert entry["name"] == "digit-reader"
    (result,) = entry["results"]  # type: ignore[misc]
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"]["type"] == "sklearn-digits-test"
    assert result["dataset"]["name"] == "sklearn:digits/test"
    metrics = {metric["name"]: metric for metric in result["metrics"]}
    assert len(metrics) == len(result["metrics"]) == 4
    assert metrics["Clean accuracy"]["type"] == "accuracy"
    assert metrics["Clean accuracy"]["value"] == 0.98
    robust = metrics["Robust accuracy against insider within Linf 0.2"]
    assert robust["type"] == "robust_accuracy"
    assert robust["value"] == 0.24
    assert robust["args"]["verdict"] == "violated"
    assert all("verified" not in metric for metric in result["metrics"])  # the Hub's to set
    assert "Attack success against customer within Linf 0.1 or L2 1 (undecided)" in metrics


def test_model_index_of_a_table() -> None:
    (entry,) = model_index(render_model_index(table_case()[0]))
    assert entry["results"][0]["task"]["type"] == "tabular-classification"  # type: ignore[index]


@pytest.mark.parametrize(
    "name", ["no", "1:30", "0o17", "a: b # c", "- x\ny: z", "&a *a !!python/object", "'\"\\", "\x00é\u2028"]
)
def test_model_index_keeps_names_as_text(name: str) -> None:
    (entry,) = model_index(render_model_index(CASE[0].model_copy(update={"system": name, "data": name})))
    assert isinstance(entry["name"], str)
    if name.isprintable():
        assert entry["name"] == name
        assert entry["results"][0]["dataset"]["name"] == name  # type: ignore[index]


# ── the table for the terminal ───────────────────────────────────────────────────────────────────────────────────


def printed(table: object, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor")
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_table_tells_every_verdict() -> None:
    text = printed(verdict_table(CASE[0]))
    for part in (
        "small-noise",
        "✗ violated",
        "■ withstood",
        "? undecided",
        "24.0\u00a0%",
        "[18.3, 30.5]",
        "≥ 85\u00a0%",
        "at most 30.5\u00a0%",
        "radius does not hurt",
    ):
        assert part in text


def test_table_fits_a_narrow_terminal() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(verdict_table(CASE[0]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    assert all(part in text for part in ("✗ violated", "■ withstood", "? undecided", "[18.3, 30.5]", "turn-and-shift"))
    assert len(text.splitlines()) < 20


def test_table_shows_names_as_text() -> None:
    bad = "[red]x[/red]\x1b[2J\u202e"
    one = CASE[0].requirements[0].model_copy(update={"id": bad, "within": bad, "reason": bad})
    text = printed(verdict_table(CASE[0].model_copy(update={"system": bad, "requirements": (one,)})), 300)
    assert text.count("[red]x[/red]\\x1b[2J\\u202e") == 3
    assert "\x1b[2J" not in text
    assert "\u202e" not in text


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────


def redoubt(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    script = "import sys, redoubt.cli.report; from redoubt.cli.app import run; sys.exit(run())"
    return subprocess.run(
        [sys.executable, "-c", script, "report", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_command_points_into_the_policy(folder: Path, tmp_path: Path) -> None:
    policy = tmp_path / "digits policy.yaml"
    policy.write_text(POLICY)
    done = redoubt(folder, "--policy", policy)
    assert done.returncode == 0, done.stderr
    assert "✗ violated" in done.stdout
    assert str(folder / "report.html") in done.stdout.replace("\n", "")
    assert f"{policy}:14:" in (folder / "report.junit.xml").read_text()
    assert f"redoubt assess &#39;{policy}&#39;" in (folder / "report.html").read_text()


def test_command_refuses_another_policy(folder: Path, tmp_path: Path) -> None:
    policy = tmp_path / "other.yaml"
    policy.write_text(POLICY.replace("0.85", "0.05"))
    done = redoubt(folder, "--policy", policy)
    assert done.returncode == 3
    assert "evidence on another policy" in done.stderr
    assert "remedy:" in done.stderr
    assert not (folder / "report.html").exists()


def test_command_without_evidence(tmp_path: Path) -> None:
    done = redoubt(tmp_path)
    assert done.returncode == 3
    assert "evidence.json: is missing" in done.stderr
    assert Place(str(tmp_path / "evidence.json")).file in done.stderr.replace("\n", "")


def test_table_says_why_nothing_was_decided() -> None:
    first = CASE[0].requirements[0].model_copy(update={"verdict": Verdict.UNDECIDED})
    unmeasured = CASE[0].requirements[1].model_copy(update={"verdict": Verdict.UNDECIDED, "measures": ()})
    text = printed(verdict_table(CASE[0].model_copy(update={"requirements": (first, unmeasured)})))
    assert "too few examples to tell" in text
    assert "not measured" in text
