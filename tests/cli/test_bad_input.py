"""Bad input on the command line: exit code 3, a message with file, line and remedy, and nothing written."""

import pickle
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from redoubt.cli.app import run


class Marker:
    """A pickle that leaves a file where it is opened."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def unknown_key(folder, text):
    return text.replace("radius: 0.04", "radios: 0.04")


def missing_unit(folder, text):
    return text.replace("{norm: linf, radius: 0.04}", "{rotation: 30}")


def radius_outside_the_range(folder, text):
    return text.replace("radius: 0.04", "radius: 8")


def weights_that_do_not_fit(folder, text):
    save_file({"first.weight": torch.zeros(3, 3)}, folder / "reader.safetensors")
    return text


def a_pickle_as_weights(folder, text):
    (folder / "reader.safetensors").write_bytes(pickle.dumps(Marker(folder / "opened")))
    return text


def a_torch_archive_as_weights(folder, text):
    torch.save({"first.weight": torch.zeros(3)}, folder / "reader.safetensors")
    return text


def _npz(folder, text, x, y):
    np.savez(folder / "data.npz", x=x, y=y)
    return text.replace("{source: sklearn:digits/test, take: 80}", "npz:data.npz")


def labels_out_of_range(folder, text):
    return _npz(folder, text, np.zeros((20, 1, 8, 8), np.float32), np.arange(20) % 11)


def data_with_nan(folder, text):
    x = np.zeros((20, 1, 8, 8), np.float32)
    x[7, 0, 3, 3] = np.nan
    return _npz(folder, text, x, np.arange(20) % 10)


def empty_data(folder, text):
    return _npz(folder, text, np.zeros((0, 1, 8, 8), np.float32), np.zeros(0, np.int64))


def wrong_number_of_classes(folder, text):
    return text.replace("classes: 10", "classes: 7")


def an_unreachable_endpoint(folder, text):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = text.replace("torch:planted:reader", f"http://127.0.0.1:{port}/v2/models/digits")
    return text.replace("  weights: reader.safetensors\n", "").replace("knows: weights, ", "")


@pytest.mark.parametrize(
    ("spoil", "file", "line", "says"),
    [
        (unknown_key, "policy.yaml", 19, ["'radios'", "'radius'"]),
        (missing_unit, "policy.yaml", 19, ["missing unit", "30 deg"]),
        (radius_outside_the_range, "policy.yaml", 19, ["radius 8", "range"]),
        (weights_that_do_not_fit, "policy.yaml", 5, ["first.bias", "missing"]),
        (a_pickle_as_weights, "policy.yaml", 5, ["pickle", "safetensors"]),
        (a_torch_archive_as_weights, "policy.yaml", 5, ["safetensors"]),
        (labels_out_of_range, "data.npz", None, ["row 10", "10"]),
        (data_with_nan, "data.npz", None, ["row 7", "is nan"]),
        (empty_data, "data.npz", None, ["empty"]),
        (wrong_number_of_classes, "policy.yaml", None, ["10", "7"]),
        (an_unreachable_endpoint, "policy.yaml", 4, ["127.0.0.1"]),
    ],
)
def test_names_file_line_and_remedy_and_writes_nothing(write, monkeypatch, capsys, tmp_path, spoil, file, line, says):
    path = write()
    path.write_text(spoil(path.parent, path.read_text()))
    before = {p.name for p in tmp_path.iterdir()}
    monkeypatch.setattr(sys, "argv", ["redoubt", "assess", str(path), "--workers", "1"])
    assert run() == 3
    message = capsys.readouterr().err
    assert f"{tmp_path / file}" in message
    if line is not None:
        assert f"{file}:{line}" in message
    for words in says:
        assert words in message
    assert "remedy:" in message or "did you mean" in message
    assert {p.name for p in tmp_path.iterdir()} - {"__pycache__"} == before


@pytest.mark.parametrize(
    "arguments",
    [["assess"], ["assess", "absent.yaml"], ["assess", "x.yaml", "--workers", "0"], ["nonsense"], ["assess", "--nope"]],
)
def test_wrong_arguments_exit_with_3(monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["redoubt", *arguments])
    assert run() == 3
    assert "error:" in capsys.readouterr().err


def test_an_unknown_executor_is_named(write, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["redoubt", "assess", str(write()), "--on", "moon"])
    assert run() == 3
    assert "unknown executor 'moon'" in capsys.readouterr().err
    assert not (tmp_path / "policy.evidence").exists()


def test_a_fault_of_our_own_exits_with_4(write, monkeypatch, capsys):
    def breaks(path):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("redoubt.cli.assess.read_policy", breaks)
    monkeypatch.setattr(sys, "argv", ["redoubt", "assess", "x.yaml"])
    assert run() == 4
    assert "please report this" in capsys.readouterr().err


def test_help_teaches_every_command():
    for command in ("", "check", "init", "schema", "assess", "harden", "report", "demo"):
        done = subprocess.run(
            [sys.executable, "-m", "redoubt", *([command] if command else []), "--help"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0
        assert "Usage" in done.stdout


@pytest.mark.slow
def test_the_demo_tells_the_whole_arc(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "redoubt", "demo", str(tmp_path / "demo")], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "violated -> withstood" in done.stdout
    for name in ("digits.evidence", "digits.hardened.evidence"):
        assert (tmp_path / "demo" / name / "report.html").stat().st_size > 50_000
