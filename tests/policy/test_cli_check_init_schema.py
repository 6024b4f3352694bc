"""`redoubt check`, `redoubt init`, `redoubt schema`: what they print, write and return."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from policy_texts import SOUND, changed
from safetensors.numpy import save_file

from redoubt.policy import policy_schema, read_policy


@pytest.fixture
def redoubt(monkeypatch, capsys):
    """Runs the command line in this process: exit code, stdout, stderr."""
    from redoubt.cli.app import run

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["redoubt", *map(str, arguments)])
        code = run()
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = {
        "features.weight": np.zeros((8, 1, 3, 3), np.float32),
        "head.weight": np.zeros((10, 128), np.float32),
        "head.bias": np.zeros(10, np.float32),
    }
    save_file(weights, tmp_path / "my digits.safetensors")
    return tmp_path


def names():
    return sorted(path.name for path in Path().iterdir())


def test_check_says_what_a_sound_policy_means(redoubt, folder):
    Path("policy.yaml").write_text(SOUND)
    code, out, err = redoubt("check", "policy.yaml")
    words = " ".join(out.split())
    assert code == 0
    assert err == ""
    assert words.startswith("policy.yaml is a sound policy. System digit-reader: a torch model")
    assert "It does not mean secure" in words


def test_check_prints_brackets_as_they_are(redoubt, folder):
    Path("policy.yaml").write_text(changed(("idx:mnist/train", "'idx:[red]/train'")))
    assert "idx:[red]/train" in " ".join(redoubt("check", "policy.yaml")[1].split())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "radius: 0.3",
            "radios: 0.3",
            "error: policy.yaml:18:26: unknown key 'radios' in within; did you mean 'radius'? known: norm, radius\n"
            "  remedy: write 'radius'\n",
        ),
        (
            "rotation: 30 deg",
            "rotation: 30",
            "error: policy.yaml:25:12: rotation: missing unit: 30 what? expected 'deg'\n"
            "  remedy: write for example '30 deg'\n",
        ),
        (
            "radius: 0.3",
            "radius: 8",
            "error: policy.yaml:18:26: radius 8 is outside the input range: inputs of [1, 28, 28] in [0, 1] are never "
            "farther apart than 1 in linf\n  remedy: if pixels of 0 to 255 were meant, write radius: 0.03137\n",
        ),
    ],
)
def test_check_refuses_with_file_line_remedy_and_exit_code_3(redoubt, folder, old, new, message):
    Path("policy.yaml").write_text(changed((old, new)))
    assert redoubt("check", "policy.yaml") == (3, "", message)


def test_the_installed_command_does_the_same(folder):
    Path("policy.yaml").write_text(changed(("take: 1000", "take: 0"), ("classes: 10", "classes: 1")))
    command = [Path(sys.executable).with_name("redoubt"), "check", "policy.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[::2] == [
        "error: policy.yaml:7:3: classes: expected a number of at least 2, got 1",
        "policy.yaml:10:34: take: expected a number greater than 0, got 0",
    ]


@pytest.mark.parametrize("arguments", [["check"], ["check", "none.yaml"], ["check", "--wrong", "x"]])
def test_wrong_arguments_exit_with_3(redoubt, folder, arguments):
    code, out, err = redoubt(*arguments)
    assert (code, out) == (3, "")
    assert err


def test_schema_is_printed_or_written(redoubt, folder):
    code, out, _ = redoubt("schema")
    assert code == 0
    assert json.loads(out) == policy_schema()
    assert redoubt("schema", "--output", "policy.schema.json")[0] == 0
    assert Path("policy.schema.json").read_text() == out
    code, out, err = redoubt("schema", "--output", "policy.schema.json/x.json")
    assert (code, out) == (3, "")
    assert "policy.schema.json/x.json: cannot write" in err


def test_init_writes_a_policy_that_passes_check(redoubt, folder):
    code, out, err = redoubt("init", "my digits.safetensors")
    assert (code, err) == (0, "")
    assert "complete it where it says CHANGE THIS" in out
    file = read_policy(Path("policy.yaml"))
    assert file.policy.system == "my-digits"
    assert file.policy.model.weights == "my digits.safetensors"
    assert file.policy.model.classes == 10
    assert "CHANGE THIS: the model file does not tell. One input" in file.text
    assert redoubt("check", "policy.yaml")[0] == 0
    assert names() == ["my digits.safetensors", "policy.yaml"]


def test_init_asks_for_privacy_where_it_is_told_of_what_that_takes(redoubt, folder):
    Path("policies").mkdir()
    told = ("--train", "npz:own.npz", "--test", "npz:others.npz", "--ledger", "ledger.json", "-o", "policies/p.yaml")
    assert redoubt("init", "my digits.safetensors", *told)[0] == 0
    policy = read_policy(Path("policies/p.yaml")).policy
    assert [one.game for one in policy.requirements[-2:]] == ["membership", "privacy"]
    assert (policy.data.train.source, policy.data.test.source) == ("npz:own.npz", "npz:others.npz")
    assert policy.requirements[-1].ledger == "../ledger.json"


def test_init_names_the_model_as_seen_from_the_policy(redoubt, folder):
    Path("policies").mkdir()
    assert redoubt("init", "my digits.safetensors", "-o", "policies/p.yaml")[0] == 0
    policy = read_policy(Path("policies/p.yaml"))
    assert policy.policy.model.weights == "../my digits.safetensors"
    assert (policy.base / "../my digits.safetensors").exists()
    absolute = folder / "my digits.safetensors"
    assert redoubt("init", absolute, "-o", "policies/q.yaml")[0] == 0
    assert read_policy(Path("policies/q.yaml")).policy.model.weights == str(absolute)


def test_init_looks_into_an_onnx_file(redoubt, folder):
    from onnx import TensorProto, helper, save

    faces = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["n", 3, 16, 16]), ("y", ["n", 768]))
    ]
    node = helper.make_node("Flatten", ["x"], ["y"])
    save(helper.make_model(helper.make_graph([node], "g", faces[:1], faces[1:])), "net.onnx")
    assert redoubt("init", "net.onnx")[0] == 0
    model = read_policy(Path("policy.yaml")).policy.model
    assert (model.source, model.weights, model.input.shape, model.classes) == ("onnx:net.onnx", None, (3, 16, 16), 768)


def test_init_never_replaces_a_policy_unless_told_to(redoubt, folder):
    Path("policy.yaml").write_text("mine")
    code, out, err = redoubt("init", "my digits.safetensors")
    assert (code, out) == (3, "")
    assert "policy.yaml exists already" in err
    assert "--force" in err
    assert Path("policy.yaml").read_text() == "mine"
    assert redoubt("init", "my digits.safetensors", "--force")[0] == 0
    assert "redoubt: 1" in Path("policy.yaml").read_text()


def test_init_of_a_pickle_is_refused_and_nothing_is_written(redoubt, folder):
    Path("model.pt").write_bytes(b"\x80\x04\x95")
    code, _, err = redoubt("init", "model.pt")
    assert code == 3
    assert "pickle" in err
    assert not Path("policy.yaml").exists()


def test_two_writers_of_the_same_new_file_do_not_replace_each_other(folder):
    from redoubt.records import PolicyError
    from redoubt.storage import write_atomically

    write_atomically(Path("a.txt"), b"first", replace=False)
    with pytest.raises(PolicyError, match="exists already"):
        write_atomically(Path("a.txt"), b"second", replace=False)
    assert Path("a.txt").read_text() == "first"
    write_atomically(Path("a.txt"), b"third")
    assert Path("a.txt").read_text() == "third"
    assert names() == ["a.txt", "my digits.safetensors"]


def test_written_files_have_the_permissions_of_ordinary_files(folder):
    from redoubt.storage import write_atomically

    Path("ordinary").touch()
    write_atomically(Path("a.txt"), b"x", replace=False)
    assert Path("a.txt").stat().st_mode == Path("ordinary").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="limits on file sizes are POSIX")
def test_a_full_disk_leaves_nothing_behind(folder):
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "sys.argv = ['redoubt', 'schema', '--output', 'schema.json']\n"
        "from redoubt.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", limited], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "schema.json: cannot write" in done.stderr
    assert "the disk is full" in done.stderr
    assert names() == ["my digits.safetensors"]
