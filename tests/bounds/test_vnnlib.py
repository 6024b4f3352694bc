"""Properties in the competition's format: what they mean, and every fault named with its line."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redoubt.bounds.vnnlib.read import property_of, read_vnnlib
from redoubt.bounds.vnnlib.tokens import MAX_DEPTH
from redoubt.records import PolicyError

GOOD = """; a comment (
(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)
(assert (>= X_0 -0.1)) (assert (<= X_0 0.1))
(assert (or
  (and (<= X_1 1.0) (>= X_1 0.5))
  (and (<= X_1 -5e-1) (>= X_1 -1))
))
(assert (or (and (<= Y_0 Y_1)) (and (>= Y_0 3.5) (<= Y_1 0))))
"""


def test_a_property_is_every_combination_of_its_alternatives():
    found = property_of(GOOD, "p")
    assert (found.inputs, found.outputs, len(found.alternatives)) == (2, 2, 4)
    cases = found.cases()
    assert [case.region.lower[0, 1].item() for case in cases] == [0.5, 0.5, -1.0, -1.0]
    assert cases[0].rows.tolist() == [[1.0, -1.0]]
    assert cases[1].rows.tolist() == [[-1.0, 0.0], [0.0, 1.0]]
    assert cases[1].limits.tolist() == [-3.5, 0.0]


@pytest.mark.parametrize(
    ("x", "y", "met"),
    [
        ([0.0, 0.7], [0.0, 0.0], True),
        ([0.0, 0.7], [1.0, 0.0], False),
        ([0.0, 0.7], [3.5, 0.0], True),
        ([0.0, 0.0], [0.0, 0.0], False),
        ([0.2, 0.7], [0.0, 0.0], False),
        ([0.0, -0.7], [float("nan"), 0.0], False),
    ],
)
def test_what_meets_it(x, y, met):
    assert property_of(GOOD, "p").met(torch.tensor(x), torch.tensor(y)) is met


def test_decimals_are_exact_and_boxes_only_grow():
    found = property_of(GOOD, "p")
    assert found.alternatives[0].lower[0] == Fraction(-1, 10)
    lower, upper = found.cases()[0].region.lower[0, 0].item(), found.cases()[0].region.upper[0, 0].item()
    assert Fraction(lower) <= Fraction(-1, 10)
    assert Fraction(upper) >= Fraction(1, 10)
    assert not found.met(torch.tensor([0.1, 0.7]), torch.zeros(2))  # 0.1 in float32 is above 0.1


@given(
    st.lists(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=3), max_size=3),
    st.tuples(st.integers(-4, 4), st.integers(-4, 4)),
)
def test_nesting_means_what_logic_says(clauses, y):
    """Clauses of `or` over `and` pairs of bounds on Y_0 and Y_1, against Python's own any and all."""
    text = "(declare-const X_0 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)"
    text += "(assert (and (<= X_0 1) (>= X_0 0) (<= Y_0 100)))"
    for clause in clauses:
        text += f"(assert (or {' '.join(f'(and (<= Y_0 {a}) (>= Y_1 (- {b} 1)))' for a, b in clause)}))"
    wanted = all(any(y[0] <= a and y[1] >= b - 1 for a, b in clause) for clause in clauses)
    assert property_of(text, "p").met(torch.tensor([0.5]), torch.tensor(y, dtype=torch.float32)) is wanted


def test_linear_terms_are_collected():
    text = GOOD.replace("(<= Y_0 Y_1)", "(<= (+ (* 2.0 Y_0) (- Y_1) 1.5) (- (* Y_1 0.25) 3))")
    case = property_of(text, "p").cases()[0]
    assert case.rows.tolist() == [[8.0, -5.0]]  # times 4: coefficients are whole numbers where they would be rounded
    assert case.limits.tolist() == [-18.0]


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed("(assert (>= X_0 -0.1))", "(assert (>= X_0 -0.1)"), "p:6: a ( that is never closed"),
        (changed("(declare-const X_1 Real)", "(declare-const X_1 Real))"), "p:3: a ) that closes nothing"),
        (changed("(declare-const X_1 Real)", "(declare-const X_2 Real)"), "p:8: 'X_1' is no number"),
        (changed("(declare-const X_1 Real)", ""), "p:8: 'X_1' is no number"),
        (changed("(declare-const X_1 Real)", "(declare-const X_0 Real)"), "p:3: X_0 is declared twice"),
        (changed("(declare-const X_1 Real)", "(declare-const Z_1 Real)"), "p:3: 'Z_1' is no variable"),
        (changed("(declare-const X_1 Real)", "(declare-const X_1 Int)"), "p:3: expected (declare-const X_0 Real)"),
        (changed("(>= X_1 0.5)", "(> X_1 0.5)"), "p:8: unknown condition '>'"),
        (changed("(>= X_1 0.5)", "(>= X_1 0,5)"), "p:8: '0,5' is no number"),
        (changed("(>= X_1 0.5)", "(>= X_1 1e9999999)"), "p:8: '1e9999999' is no number"),
        (changed("(>= X_1 0.5)", "(>= X_1 X_0)"), "p:8: a condition that ties several inputs together"),
        (changed("(>= X_1 0.5)", "(>= X_1 Y_0)"), "p:8: a condition that ties inputs to outputs"),
        (changed("(>= X_1 0.5)", "(>= X_1 0.5 0.6)"), "p:8: (>= ...) compares 3 terms"),
        (changed("(>= X_1 0.5)", "(>= 1.0 0.5)"), "p:8: a condition over no variable"),
        (changed("(>= X_1 0.5)", "(>= X_1 X_1)"), "p:8: a condition over no variable"),
        (changed("(>= X_1 0.5)", "(>= (* Y_1 Y_0) 0.5)"), "p:8: a product of variables"),
        (changed("(>= X_1 0.5)", "(>= (sin Y_1) 0.5)"), "p:8: unknown term '(sin ...)'"),
        (changed("(>= X_1 0.5)", "(and)"), "p:8: (and) of nothing"),
        (changed("(assert (>= X_0 -0.1))", ""), "p: X_0 has no lower bound"),
        (changed("(assert (<= X_0 0.1))", ""), "p: X_0 has no upper bound"),
        (changed("(assert (>= X_0 -0.1))", "(assert (>= X_0 0.2))"), "p: no input meets the conditions on X"),
        (changed("(assert (>= X_0 -0.1))", "(push 1)"), "p:6: unknown statement 'push'"),
        (GOOD.partition("(assert (or (and (<= Y_0")[0], "p: nothing is said of the outputs"),
        (GOOD.partition("(assert")[0], "p: nothing is asserted"),
        ("(declare-const Y_0 Real)(assert (<= Y_0 1))", "p: no input X_0 is declared"),
        ("(declare-const X_0 Real)(assert (<= X_0 1))", "p: no output Y_0 is declared"),
        ("", "p: no input X_0 is declared"),
        ("(" * (MAX_DEPTH + 1), f"p:1: nested deeper than {MAX_DEPTH}"),
        ('(set-info "unfinished', "p:1: a quote without an end"),
    ],
)
def test_each_fault_is_named_with_its_line(text, said):
    with pytest.raises(PolicyError) as caught:
        property_of(text, "p")
    assert str(caught.value).startswith(said)


def test_alternatives_do_not_explode():
    head = GOOD.partition("(assert (or")[0] + "(assert (<= X_1 1.0)) (assert (>= X_1 0.5))"
    text = head + "(assert (or (<= Y_0 1) (<= Y_1 1)))\n" * 40
    with pytest.raises(PolicyError, match="more than 20000 alternatives"):
        property_of(text, "p")


def test_a_deep_nest_of_brackets_is_refused_before_anything_recurses():
    with pytest.raises(PolicyError, match="nested deeper"):
        property_of("(assert " + "(and " * 100_000, "p")


def test_files_that_are_none(tmp_path):
    with pytest.raises(PolicyError, match="cannot read"):
        read_vnnlib(tmp_path / "none.vnnlib")
    (tmp_path / "packed.vnnlib").write_bytes(b"(declare-const X_0 Real)\n\xff\xfe")
    with pytest.raises(PolicyError, match=r"packed\.vnnlib:2: is not text"):
        read_vnnlib(tmp_path / "packed.vnnlib")
