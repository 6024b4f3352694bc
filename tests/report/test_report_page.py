"""The HTML report: complete, honest, offline, and deaf to whatever names say."""

import base64
import io
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lxml import html
from PIL import Image
from sample import COMMAND, TIMINGS, digits, evidence, image_case, requirement, table_case, write_folder

import redoubt.report
from redoubt.records import Evidence, Verdict
from redoubt.report.page import render_page
from redoubt.report.read import Pair, read_folder

CASE = image_case()
HOSTILE = "a]]></title></style><script>alert(1)</script><img src=x onerror=alert(1)>\"' \u202e{{7*7}}{% raw %}\x00&amp;"


def page(folder: Path, command: str = COMMAND) -> html.HtmlElement:
    return html.document_fromstring(render_page(read_folder(folder), command))


def said(element: html.HtmlElement) -> str:
    return " ".join(element.text_content().replace("\u00a0", " ").split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("page") / "evidence", CASE, TIMINGS)


@pytest.fixture(scope="module")
def tree(folder: Path) -> html.HtmlElement:
    return page(folder)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> html.HtmlElement:
    """Every text in the evidence, the timings, the policy and the command is hostile."""

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            spoiled = {k: spoil(v, k) for k, v in value.items()}
            return spoiled | {HOSTILE: HOSTILE} if key in ("versions", "parameters") else spoiled
        if isinstance(value, list):
            return [spoil(part, key) for part in value]
        kept = {"verdict", "require", "measure", "name", "tensor", "id", "game"}
        return HOSTILE if isinstance(value, str) and key not in kept else value

    bad = spoil(CASE[0].model_dump(mode="json"))
    for one in bad["requirements"]:
        one["id"] += HOSTILE
    path = tmp_path_factory.mktemp("hostile") / "evidence"
    write_folder(path, (Evidence.model_validate(bad), CASE[1]), {**TIMINGS, "machine": HOSTILE})
    (path / "policy.yaml").write_text(HOSTILE)
    return page(path, HOSTILE)


# ── honest ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_headline_and_tally(tree: html.HtmlElement) -> None:
    (headline,) = tree.xpath("//h1")
    assert said(headline) == "digit-reader does not meet its policy: 1 of 4 requirements is violated."
    assert [said(li) for li in tree.xpath("//ul[@class='tally']/li")] == [
        "1 violated",
        "1 undecided",
        "2 withstood",
        "0 proved",
    ]


def _only(verdict: Verdict, folder: Path) -> html.HtmlElement:
    one = CASE[0].requirements[3].model_copy(update={"verdict": verdict})
    write_folder(folder, (CASE[0].model_copy(update={"requirements": (one,)}), {}))
    return page(folder)


def test_withstood_is_never_called_secure(tmp_path: Path) -> None:
    tree = _only(Verdict.WITHSTOOD, tmp_path)
    (headline,) = tree.xpath("//h1")
    assert said(headline) == (
        "digit-reader withstood every attack that was tried on it, within the budgets of its policy."
    )
    # Once in the box of the headline, once in the glossary.
    assert re.findall(r"\S+ \S+ secure\b", said(tree)) == ["not mean secure"] * 2
    assert not re.search(r"\b(safe|passed|proven)\b", said(tree.xpath("//section[contains(@class, 'hero')]")[0]))


def test_undecided_is_not_a_pass(tmp_path: Path) -> None:
    (headline,) = _only(Verdict.UNDECIDED, tmp_path).xpath("//h1")
    assert said(headline).startswith("It is not known whether digit-reader meets its policy")


def test_verdict_table_is_complete(tree: html.HtmlElement) -> None:
    rows = tree.xpath("//table[@class='verdicts']/tbody/tr")
    first = said(rows[0])
    for part in (
        "small-noise",
        "violated",
        "48 of 200 = 24.0 % [18.3 %, 30.5 %]",
        "at least 85 %",
        "insider",
        "Linf 0.2",
    ):
        assert part in first
    assert "Even the upper end of the interval lies below 85 %." in said(rows[1])
    assert len(rows) == 8


def test_signs_come_with_a_remedy(tree: html.HtmlElement) -> None:
    signs = [said(sign) for sign in tree.xpath("//aside[@class='sign']")]
    assert len(signs) == 2
    assert "At 64 times the radius 88 of 100 inputs still stood" in signs[0]
    assert all("What to do." in sign for sign in signs)


def test_work_table_has_times_and_broken_strategies(tree: html.HtmlElement) -> None:
    tables = tree.xpath("//table[@class='work']")
    cells = [said(cell) for cell in tables[0].xpath("./tbody/tr[1]/*")]
    assert cells[:6] == ["random", "Linf 0.2", "196", "9", "39,396", "0"]
    assert float(cells[6]) > 0  # median passes, and mean passes, to fool
    assert float(cells[7]) > 0
    assert cells[8:] == ["0.31 s"]
    assert "Broke: the gradient was NaN in 31 of 184 inputs" in said(tables[2])


def test_reproduction(tree: html.HtmlElement) -> None:
    assert said(tree.xpath("//pre[@class='command']")[0]) == COMMAND
    digests = {code.text for code in tree.xpath("//code[@class='digest']")}
    assert digests == {value for _, value in CASE[0].digests}
    assert "range: [0, 1]" in said(tree.xpath("//details/pre")[0])


# ── charts and pictures ──────────────────────────────────────────────────────────────────────────────────────────


def _points(path: html.HtmlElement) -> list[tuple[float, float]]:
    numbers = [float(n) for n in re.findall(r"[\d.]+", path.get("d"))]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_radius_chart_shows_each_point_with_its_interval(tree: html.HtmlElement) -> None:
    board = tree.get_element_by_id("r1").xpath(".//*[@aria-labelledby='r1-radius-t r1-radius-d']")[0]
    dots = [dot for dot in board.iter("circle") if dot.get("class") == "point"]
    assert len(dots) == len(CASE[0].requirements[0].curve) == 5
    floor, top = 254.0, 24.0
    shares = [(floor - float(dot.get("cy"))) / (floor - top) for dot in dots]
    assert shares == pytest.approx([0.93, 0.81, 0.60, 0.29, 0.09], abs=1e-4)
    whiskers = [
        line for line in board.iter("line") if line.get("class") == "whisker" and line.get("x1") == line.get("x2")
    ]
    for dot, whisker in zip(dots, whiskers, strict=True):
        assert float(whisker.get("y2")) < float(dot.get("cy")) < float(whisker.get("y1"))
    assert [said(text) for text in board.iter("text") if text.get("class") == "note"] == [
        "Linf 0.2", "required: at least 85 %",
    ]  # fmt: skip


def test_work_chart_falls_from_clean_to_robust_accuracy(tree: html.HtmlElement) -> None:
    board = tree.get_element_by_id("r1").xpath(".//*[@aria-labelledby='r1-work-t r1-work-d']")[0]
    line = _points(next(path for path in board.iter("path") if path.get("class") == "curve"))
    heights = [(254.0 - y) / 230 for _, y in line]
    assert heights[0] == pytest.approx(196 / 200, abs=1e-4)
    assert heights[-1] == pytest.approx(48 / 200, abs=1e-4)
    assert all(later <= earlier for earlier, later in itertools.pairwise(heights))
    assert all(later >= earlier for (earlier, _), (later, _) in itertools.pairwise(line))


def test_no_attack_no_chart(tree: html.HtmlElement) -> None:
    section = tree.get_element_by_id("r4")
    assert not section.xpath(".//figure")
    assert "No attack was played" in said(section)


def _pixels(img: html.HtmlElement) -> np.ndarray:
    kind, data = img.get("src").split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_pictures_are_the_tensors(folder: Path, tree: html.HtmlElement) -> None:
    pair: Pair = read_folder(folder).pairs["small-noise"][0]
    images = tree.get_element_by_id("r1").xpath(".//img")
    assert len(images) == 3 * 8
    clean, perturbed, difference = (_pixels(img) for img in images[:3])
    for shown, tensor in ((clean, pair.clean), (perturbed, pair.perturbed)):
        assert shown.shape == (128, 128, 3)
        np.testing.assert_array_equal(shown[::16, ::16, 0], np.rint(tensor[0] * 255).astype(int))
    change = pair.perturbed[0] - pair.clean[0]
    red, blue = difference[::16, ::16, 0].astype(int), difference[::16, ::16, 2].astype(int)
    assert (np.sign(red - blue) == np.sign(change)).all()
    assert "magnified ×5 " in said(tree.get_element_by_id("r1"))


def test_colour_pictures(tmp_path: Path) -> None:
    sample = digits(60)
    sample.x = np.repeat(sample.x, 3, axis=1) * np.array([1, 0.5, 0], "float32")[:, None, None]
    one = requirement(
        sample, "tint", "robust_accuracy >= 0.9", Verdict.VIOLATED, {"pgd": 20}, "Linf 0.1", reason="Fell."
    )
    write_folder(tmp_path, (evidence(sample, [one]), sample.tensors))
    clean, _, difference = (_pixels(img) for img in page(tmp_path).xpath("//img")[:3])
    pair = read_folder(tmp_path).pairs["tint"][0]
    np.testing.assert_array_equal(clean[::16, ::16], np.rint(pair.clean * 255).astype(int).transpose(1, 2, 0))
    still = (pair.perturbed == pair.clean).transpose(1, 2, 0)
    assert (difference[::16, ::16][still] == 128).all()


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    sample = digits(10)
    sample.x = np.kron(sample.x, np.ones((1, 1, 100, 60), "float32"))
    one = requirement(sample, "big", "robust_accuracy >= 0.9", Verdict.VIOLATED, {"pgd": 1}, "Linf 0.1", reason="Fell.")
    write_folder(tmp_path, (evidence(sample, [one]), sample.tensors))
    assert _pixels(page(tmp_path).xpath("//img")[0]).shape == (256, 154, 3)


def test_tables_show_the_largest_moves(tmp_path: Path) -> None:
    write_folder(tmp_path, table_case())
    tree = page(tmp_path)
    assert not tree.xpath("//img")
    pair = read_folder(tmp_path).pairs["cellar"][0]
    rows = tree.xpath("(//ul[contains(@class, 'tabular')]/li)[1]//tbody/tr")
    largest = int(np.argmax(np.abs(pair.perturbed - pair.clean)))
    assert said(rows[0].xpath("./th")[0]) == str(largest)
    changes = [abs(float(said(row.xpath("./td[3]")[0]))) for row in rows]
    assert changes == sorted(changes, reverse=True)
    assert len(rows) == 6


# ── offline, accessible, hostile ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("which", ["tree", "hostile"])
def test_nothing_runs_and_nothing_is_fetched(which: str, request: pytest.FixtureRequest) -> None:
    tree = request.getfixturevalue(which)
    assert not tree.xpath("//script | //iframe | //object | //embed | //form | //link | //base")
    for element in tree.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on"), name
            if name in ("href", "src"):
                assert value.startswith(("#", "data:image/png;base64,")), value
    style = tree.xpath("string(//style)")
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in tree.xpath("string(//meta[@http-equiv='Content-Security-Policy']/@content)")


def test_hostile_names_are_only_text(tree: html.HtmlElement, hostile: html.HtmlElement) -> None:
    watched = {"img", "script", "h1", "section", "style", "title", "svg", "table"}
    made, expected = (Counter(e.tag for e in t.iter() if e.tag in watched) for t in (hostile, tree))
    assert made == expected
    text = hostile.text_content()
    assert "</title></style><script>alert(1)</script>" in text
    assert "{{7*7}}{% raw %}" in text
    assert "\\u202e" in text
    assert not set(text) & set("\x00\u202e")


def test_accessible(tree: html.HtmlElement) -> None:
    assert tree.get("lang") == "en"
    ids = tree.xpath("//@id")
    assert len(ids) == len(set(ids))
    assert {ref for refs in tree.xpath("//@aria-labelledby") for ref in refs.split()} <= set(ids)
    assert {href[1:] for href in tree.xpath("//a/@href")} <= set(ids)
    assert all(img.get("alt") for img in tree.xpath("//img"))
    assert all(th.get("scope") for th in tree.xpath("//th"))
    for board in tree.xpath("//*[@role='img']"):
        assert board.xpath("./title/text()")
        assert board.xpath("./desc/text()")
    for badge in tree.xpath("//span[contains(@class, 'badge')]"):  # the verdict is a word, never a colour alone
        assert said(badge) in badge.get("class")


def _contrast(one: str, other: str) -> float:
    """WCAG 2.1 contrast ratio of two colours, `#rgb` or `#rrggbb`."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_every_theme_has_contrast() -> None:
    style = (Path(redoubt.report.__file__).parent / "templates" / "report.css").read_text()
    themes = [
        dict(re.findall(r"--([a-z-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(themes) == 3
    for theme in themes:
        on = {verdict: ["card", f"{verdict}-soft"] for verdict in ("violated", "withstood", "undecided")}
        on |= {
            "ink": ["paper", "card", "soft", "undecided-soft"],
            "quiet": ["paper", "card", "soft"],
            "accent": ["card"],
        }
        for text, grounds in on.items():
            for ground in grounds:
                assert _contrast(theme[text], theme[ground]) >= 4.5, (text, ground, theme)


def test_a_refusal_is_shown_as_no_answer(tmp_path: Path) -> None:
    plain = json.loads(CASE[0].model_dump_json())
    for example in plain["requirements"][0]["examples"]:
        if example["perturbed"] is not None:
            example["perturbed"] = -1
    write_folder(tmp_path, (Evidence.model_validate(plain), CASE[1]))
    assert "nine → became no answer" in said(page(tmp_path).get_element_by_id("r1"))
