"""The page of a hardening shows its price, curves, looks and sweeps; what is damaged is refused."""

import json
import re

import pytest
from typer.testing import CliRunner

from digits import NOISE
from redoubt.cli.app import app
from redoubt.harden import harden
from redoubt.records import EpochPoint, Hardening, StorageError
from redoubt.report.hardening import overfitting, render_hardening, write_hardening_page
from redoubt.report.read import read_hardening

HARDEN = f"{NOISE}\nharden: {{against: noise, epochs: 3, steps: 2, warmup: 1, batch: 64, learning_rate: 0.003}}"


@pytest.fixture
def folder(policy, tmp_path):
    harden(policy(requirements=HARDEN), tmp_path / "hard")
    return tmp_path / "hard"


def test_the_page_shows_price_curve_and_looks_and_fetches_nothing(folder):
    page = write_hardening_page(folder, "redoubt harden digits.yaml").read_text()
    hardening, gains = read_hardening(folder)
    assert f"{hardening.price.forwards:,}".replace(",", " ") in page.replace("\u202f", " ").replace(",", " ")
    assert page.count("data:image/png") == 5 * len(gains.x) > 0
    assert page.count('class="curve robust"') == 1
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_a_hardened_models_loss_rises_less_around_the_inputs(folder):
    _, gains = read_hardening(folder)
    before, after = (float(each.max()) for each in gains.surface)
    assert after < before
    side = gains.surface[0].shape[1]
    middle = gains.surface[0][:, side // 2, side // 2]
    assert (gains.surface[0].max(axis=(1, 2)) > middle).all()
    assert (gains.surface[0][:, side // 2, -1] > middle).all()  # the steepest way leads to the right


def test_robust_overfitting_is_said_where_it_is(folder):
    hardening, _ = read_hardening(folder)

    def told(robust, fitted, keep="last"):
        points = [
            hardening.curve[-1].model_copy(update={"number": number, "robust": r, "fitted": f})
            for number, (r, f) in enumerate(zip(robust, fitted, strict=True), 1)
        ]
        recipe = hardening.recipe.model_copy(update={"keep": keep})
        return overfitting(hardening.model_copy(update={"curve": tuple(points), "recipe": recipe}))

    assert "after epoch 2" in told([0.4, 0.5, 0.42], [0.4, 0.6, 0.9])
    assert "best epoch were kept" in told([0.4, 0.5, 0.42], [0.4, 0.6, 0.9], keep="best")
    assert told([0.4, 0.5, 0.495], [0.4, 0.6, 0.9]) == ""
    assert told([0.4, 0.5, 0.3], [0.4, 0.6, 0.5]) == ""  # broke down, did not overfit


def test_what_is_written_by_others_is_escaped(folder):
    hardening, gains = read_hardening(folder)
    page = render_hardening(hardening.model_copy(update={"against": "<b>x</b>"}), gains, "<script>1</script>")
    assert "<b>x" not in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("hardened.json", lambda raw: raw[:-20]),
        ("hardened.json", lambda raw: raw.replace(b'"clean_after"', b'"clean_aftre"')),
        ("gains.safetensors", lambda raw: raw[:-9]),
        ("gains.safetensors", lambda raw: raw.replace(b"surface/after", b"surface/aftre")),
    ],
)
def test_damaged_evidence_is_refused_with_its_name(folder, name, damage):
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StorageError, match=name):
        write_hardening_page(folder, "redoubt harden digits.yaml")


def test_evidence_without_an_epoch_is_refused(folder):
    path = folder / "hardened.json"
    told = json.loads(path.read_text()) | {"curve": []}
    path.write_text(json.dumps(told))
    with pytest.raises(StorageError, match="no epoch"):
        read_hardening(folder)


def test_the_command_takes_a_recipe_and_sweeps_and_goes_on_where_it_was(write, tmp_path):
    path = write(requirements=HARDEN)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("epochs: 3\nsteps: 2\nwarmup: 0\nbatch: 64\nlearning_rate: 0.003\n")
    command = ["harden", str(path), "--recipe", str(recipe), "--radii", "0,1,3", "--sizes", "60,600"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    hardening, _ = read_hardening(path.with_suffix(".hardened"))
    plain, same, wide = hardening.radii
    assert same.robust == hardening.price.robust_after
    assert plain.robust < wide.robust
    few, many = hardening.sizes
    assert few.robust < many.robust
    assert few.plain_clean is not None
    page = (path.with_suffix(".hardened") / "hardened.html").read_text()
    assert "What a radius costs" in page
    assert "What more examples are worth" in page
    assert f"redoubt harden {path} --recipe {recipe} --radii 0,1,3 --sizes 60,600" in page
    assert all(isinstance(point, EpochPoint) for point in hardening.curve)
    assert Hardening.model_validate_json(hardening.model_dump_json(exclude_unset=True)) == hardening


@pytest.mark.parametrize("option", ["--radii=x", "--radii=-1", "--sizes=0", "--radii=nan", "--recipe=tradez"])
def test_wrong_options_are_refused(write, option):
    done = CliRunner().invoke(app, ["harden", str(write(requirements=HARDEN)), option])
    assert done.exit_code != 0
