"""The eight steps of `assess`, and what happens when one of them is cut short."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch

from digits import NOISE, QUICK
from redoubt.assess import STANDARD, assess
from redoubt.assess.execute import Silent
from redoubt.attacks.evasion import PGD, GridSearch, RandomSearch
from redoubt.policy import read_policy
from redoubt.records import DataError, Evidence, ModelError, PolicyError, RedoubtError, Verdict

SEVERAL = f"""{NOISE}
  - id: outside
    game: evasion
    adversary: customer
    within: {{norm: linf, radius: 0.1}}
    require: attack_success <= 0.5
  - id: turn
    game: evasion
    adversary: stranger
    within: {{rotation: 15 deg, translation: 1 px}}
    require: robust_accuracy >= 0.5
  - id: either
    game: evasion
    adversary: insider
    within: {{any_of: [{{norm: linf, radius: 0.03}}, {{rotation: 10 deg}}]}}
    require: robust_accuracy >= 0.1"""
SUITE = (*QUICK, GridSearch())


def evidence_bytes(folder):
    return (folder / "evidence.json").read_bytes() + (folder / "examples.safetensors").read_bytes()


class Counts(Silent):
    """Counts tasks really done, and stops the run like Ctrl-C after some."""

    def __init__(self, stop_after=None):
        self.done = self.kept = 0
        self.stop_after = stop_after

    def finished(self, requirement, tasks, reused):
        if reused:
            self.kept += tasks
            return
        self.done += tasks
        if self.done == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def several(policy):
    return policy(requirements=SEVERAL, take=60)


def test_evidence_is_whole(several, tmp_path):
    evidence = assess(several, tmp_path / "e", suite=SUITE)
    assert Evidence.model_validate_json((tmp_path / "e" / "evidence.json").read_bytes()) == evidence
    assert [r.id for r in evidence.requirements] == ["noise", "outside", "turn", "either"]
    pictures = safetensors.torch.load_file(tmp_path / "e" / "examples.safetensors")
    for requirement in evidence.requirements:
        assert len(requirement.examples) == 60
        robust = sum(example.robust for example in requirement.examples)
        measures = {m.measure: m for m in requirement.measures}
        assert measures["robust_accuracy"].successes == robust
        assert sum(outcome.fooled for outcome in requirement.outcomes) == measures["attack_success"].successes
        assert sum(example.work.passes for example in requirement.examples) == requirement.work.passes
        shown = [example for example in requirement.examples if example.tensor]
        assert bool(shown) == (robust < measures["clean_accuracy"].successes)
        for example in shown:
            perturbed, clean = (pictures[f"{example.tensor}/{kind}"] for kind in ("perturbed", "clean"))
            assert perturbed.shape == (1, 8, 8)
            assert not torch.equal(perturbed, clean)
            if requirement.id == "noise":
                assert (perturbed - clean).abs().max() <= 0.04 + 1e-6
                assert example.distance == pytest.approx(float((perturbed - clean).abs().max()), abs=1e-5)
    either = evidence.requirements[3]
    assert {outcome.within for outcome in either.outcomes} == {"Linf 0.03", "rotation 10 deg"}
    timings = json.loads((tmp_path / "e" / "timings.json").read_bytes())
    assert set(timings["seconds"]) == {"noise", "outside", "turn", "either"}


def test_distances_draw_the_curve_at_every_radius(policy, tmp_path):
    evidence = assess(policy(requirements=SEVERAL, take=60), tmp_path / "e", suite=SUITE)
    noise, outside, turn, either = evidence.requirements
    assert outside.distances is turn.distances is either.distances is None
    distances = noise.distances
    assert distances is not None
    assert distances.strategies == ("fmn",)
    fell = [example.distance / 0.04 for example in noise.examples if example.distance is not None]
    wrong = sum(example.clean != example.label for example in noise.examples)
    assert distances.trials - distances.standing(0) == wrong
    # All 60 are in the curve, so nobody stands at a radius at which the game had brought down as many.
    for scale in (0.3, 0.6, 1.0):
        assert distances.standing(scale) <= 60 - wrong - sum(at <= scale for at in fell)
    assert [point.robust.successes for point in noise.curve] == [
        distances.standing(point.scale) for point in noise.curve
    ]
    assert distances.standing(25.0) < distances.standing(0)


def test_budgets_hold_for_every_example_over_all_strategies(policy, tmp_path):
    evidence = assess(policy(requirements=SEVERAL, take=60, passes=100), tmp_path / "e", suite=SUITE)
    noise, outside, turn, _ = evidence.requirements
    assert 50 < max(example.work.passes for example in noise.examples) <= 100
    assert max(example.work.queries for example in outside.examples) == 60
    assert max(example.work.queries for example in turn.examples) == 20
    assert not any(example.work.backwards for example in outside.examples + turn.examples)


def test_a_fooled_example_is_attacked_no_further(several, tmp_path):
    noise = assess(several, tmp_path / "e", suite=SUITE).requirements[0]
    standing = noise.outcomes[0].attacked
    for outcome in noise.outcomes:
        assert outcome.attacked == standing
        standing -= outcome.fooled


def test_step_3_a_run_that_was_stopped_goes_on_and_ends_the_same(several, tmp_path):
    whole = Counts()
    assess(several, tmp_path / "whole", suite=SUITE, progress=whole)
    with pytest.raises(KeyboardInterrupt):
        assess(several, tmp_path / "stopped", suite=SUITE, progress=Counts(stop_after=5))
    assert not (tmp_path / "stopped" / "evidence.json").exists()
    rest = Counts()
    assess(several, tmp_path / "stopped", suite=SUITE, progress=rest)
    assert rest.done == whole.done - 5
    assert evidence_bytes(tmp_path / "stopped") == evidence_bytes(tmp_path / "whole")
    again = Counts()
    before = json.loads((tmp_path / "stopped" / "timings.json").read_bytes())["seconds"]
    assess(several, tmp_path / "stopped", suite=SUITE, progress=again)
    assert again.done == 0
    assert json.loads((tmp_path / "stopped" / "timings.json").read_bytes())["seconds"] == before
    assert before["noise"]["apgd-ce"] > 0


def test_step_3_another_bound_or_name_redoes_nothing_another_radius_does(policy, tmp_path):
    assess(policy(), tmp_path / "e", suite=QUICK)
    for change, redone in (
        ((">= 0.2", ">= 0.9"), False),
        (("id: noise", "id: static"), False),
        (("0.04", "0.05"), True),
    ):
        progress = Counts()
        assess(policy(requirements=NOISE.replace(*change)), tmp_path / "e", suite=QUICK, progress=progress)
        assert bool(progress.done) == redone


def test_step_3_damaged_or_half_written_results_are_not_believed(policy, tmp_path):
    assess(policy(), tmp_path / "whole", suite=QUICK)
    assess(policy(), tmp_path / "e", suite=QUICK)
    files = sorted((tmp_path / "e" / "tasks").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:-10])
    flipped = bytearray(files[1].read_bytes())
    flipped[-1] ^= 1
    files[1].write_bytes(flipped)
    (tmp_path / "e" / "tasks" / ".writing-abc").write_bytes(b"half")
    progress = Counts()
    assess(policy(), tmp_path / "e", suite=QUICK, progress=progress)
    assert progress.done == 2
    assert evidence_bytes(tmp_path / "e") == evidence_bytes(tmp_path / "whole")


def test_step_3_any_number_of_workers_and_ray_leave_the_same_bytes(write, tmp_path):
    """800 examples, so that each requirement has more than one part to play at a time."""
    file = read_policy(write(requirements=SEVERAL, take=300))
    small = (PGD(steps=5), RandomSearch(samples=5))
    assess(file, tmp_path / "one", suite=small)
    assess(file, tmp_path / "two", suite=small, workers=2)
    assert evidence_bytes(tmp_path / "one") == evidence_bytes(tmp_path / "two")
    pytest.importorskip("ray")
    assess(file, tmp_path / "ray", suite=small, workers=2, on="ray")
    assert evidence_bytes(tmp_path / "one") == evidence_bytes(tmp_path / "ray")


def redoubt(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "redoubt", *map(str, arguments)], capture_output=True, text=True, timeout=300, **options
    )


def test_kill_9_at_any_moment_loses_no_finished_task(write, tmp_path):
    path = write(requirements=SEVERAL, take=60)
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "redoubt", "assess", str(path), "-o", str(folder), "--workers", "1"]
    before: set[str] = set()
    for wanted in (2, 6):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and len(finished_tasks(folder)) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert before <= finished_tasks(folder)
        before = finished_tasks(folder)
        assert len(before) >= wanted
    stamps = {name: (folder / "tasks" / name).stat().st_mtime_ns for name in before}
    done = redoubt("assess", path, "-o", folder, "--workers", "1")
    assert done.returncode in (0, 1, 2), done.stderr
    assert stamps == {name: (folder / "tasks" / name).stat().st_mtime_ns for name in before}
    assess(read_policy(path), tmp_path / "whole")
    assert evidence_bytes(folder) == evidence_bytes(tmp_path / "whole")


def finished_tasks(folder):
    return {f.name for f in (folder / "tasks").glob("*.safetensors")} if (folder / "tasks").is_dir() else set()


def test_a_full_disk_is_said_and_leaves_nothing_half_written(write, tmp_path):
    """A limit on file size makes the kernel refuse the write half-way, as a full disk does."""

    def few_bytes():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    folder = tmp_path / "full"
    done = redoubt(
        "assess",
        write(),
        "-o",
        folder,
        "--workers",
        "1",
        preexec_fn=few_bytes,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 3, done.stderr
    assert "the disk is full" in done.stderr
    assert "remedy: free some space" in done.stderr
    assert all(file.stat().st_size < 4000 for file in folder.rglob("*") if file.is_file())
    assert not list(folder.rglob(".writing-*"))
    assert not (folder / "evidence.json").exists()


@pytest.mark.parametrize(
    ("change", "family", "says", "line"),
    [
        (("reader.safetensors", "absent.safetensors"), ModelError, "absent.safetensors", 5),
        (("planted:reader", "planted:nobody"), ModelError, "nobody", 4),
        (("classes: 10", "classes: 12"), ModelError, "12", None),
        (("shape: [1, 8, 8]", "shape: [1, 8, 9]"), RedoubtError, "8, 9", None),
        (("take: 80", "take: 100000"), DataError, "100000", None),
        (("sklearn:digits/test", "npz:absent.npz"), DataError, "absent.npz", None),
        (("linf, radius: 0.04", "linf, radius: 4"), PolicyError, "radius", 19),
        (("insider\n    within", "customer\n    strategies: [pgd]\n    within"), PolicyError, "pgd", 19),
    ],
)
def test_step_1_bad_input_writes_nothing(write, tmp_path, change, family, says, line):
    path = write()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(family, match=says) as caught:
        assess(read_policy(path), tmp_path / "e", suite=QUICK)
    if line is not None:
        assert str(caught.value).startswith(f"{path}:{line}")
    assert caught.value.remedy or "did you mean" in str(caught.value)
    assert not (tmp_path / "e").exists()


def test_command_line_exit_codes_follow_the_worst_verdict(write, tmp_path):
    path, folder = write(), tmp_path / "e"
    text = path.read_text()
    share = assess(read_policy(path), folder, suite=STANDARD).requirements[0].measures[0].value
    for bound, code, verdict in ((0.0, 0, "withstood"), (0.999, 1, "violated"), (share, 2, "undecided")):
        path.write_text(text.replace(">= 0.2", f">= {bound}"))
        done = redoubt("assess", path, "-o", folder, "--workers", "1")
        assert verdict in done.stdout, done.stderr
        assert done.returncode == code
        assert (folder / "report.html").is_file()


def test_verdict_of_a_model_that_is_only_queried(policy, tmp_path):
    """A label-only stranger plays what needs labels."""
    evidence = assess(policy(requirements=SEVERAL, take=60), tmp_path / "e", suite=SUITE)
    turn = evidence.requirements[2]
    assert {outcome.strategy for outcome in turn.outcomes} == {"grid", "random"}
    assert turn.verdict in set(Verdict)
    assert turn.unbounded is None


def test_step_3_requirements_that_share_a_task_share_its_result(policy, tmp_path):
    """Also a game and its curve, when the curve's probe is one of the game's strategies."""
    twin = NOISE.replace("id: noise", "id: twin").replace(">= 0.2", ">= 0.99")
    once, both = Counts(), Counts()
    (alone,) = assess(policy(), tmp_path / "one", suite=QUICK, progress=once).requirements
    first, second = assess(
        policy(requirements=f"{NOISE}\n{twin}"), tmp_path / "two", suite=QUICK, progress=both
    ).requirements
    assert both.done == once.done
    assert both.kept >= once.done
    for found in (first, second):
        for part in ("measures", "outcomes", "curve", "signs", "work"):
            assert getattr(found, part) == getattr(alone, part)
    assert (first.verdict, second.verdict) == (Verdict.WITHSTOOD, Verdict.VIOLATED)


def test_a_randomised_model_leaves_the_same_bytes_too(policy, tmp_path):
    file = policy("randomises", take=40)
    for name in ("once", "again"):
        assess(file, tmp_path / name, suite=QUICK)
    assert evidence_bytes(tmp_path / "once") == evidence_bytes(tmp_path / "again")


def test_ctrl_c_says_how_to_go_on(write, tmp_path):
    command = [
        sys.executable,
        "-m",
        "redoubt",
        "assess",
        str(write(requirements=NOISE + "\n    strategies: [apgd-t, pgd, apgd-ce, apgd-dlr]", take=300)),
        "-o",
        str(tmp_path / "e"),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # whoever runs the tests in the background has SIGINT ignored, and hands that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not finished_tasks(tmp_path / "e") and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command again" in said


def test_a_reader_that_goes_away_changes_no_exit_code(write, tmp_path):
    path = write()
    path.write_text(path.read_text().replace(">= 0.2", ">= 0.0"))
    command = [sys.executable, "-m", "redoubt", "assess", str(path), "-o", str(tmp_path / "e"), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.close()
    assert process.wait(timeout=300) == 0


def test_evidence_on_another_policy_does_not_stay_beside_the_text_of_this_one(policy, tmp_path, monkeypatch):
    """Else a report of a folder whose second run was killed would show the first one's verdicts under new bounds."""
    assess(policy(take=20), tmp_path / "e", suite=(RandomSearch(samples=3),))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("redoubt.assess.run.execute", killed)
    with pytest.raises(KeyboardInterrupt):
        assess(policy(take=20), tmp_path / "e", suite=(RandomSearch(samples=3),))
    assert (tmp_path / "e/evidence.json").is_file()
    other = policy(take=21)
    with pytest.raises(KeyboardInterrupt):
        assess(other, tmp_path / "e", suite=(RandomSearch(samples=3),))
    assert (tmp_path / "e/policy.yaml").read_text() == other.text
    assert not (tmp_path / "e/evidence.json").exists()
