# ruff: noqa: E501  rows of tables
"""The machine that follows pickles, beside the real one and beside other people's scanners."""

import io
import pickle
import pickletools

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from redoubt.supply.pickles.machine import Stop
from redoubt.supply.pickles.names import CALLS, VALUES
from redoubt.supply.pickles.opcodes import REFUSED, STEPS, follow
from redoubt.supply.pickles.values import Map, Row

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


def plain(value):
    if isinstance(value, Row):
        return tuple(map(plain, value.items)) if value.kind == "tuple" else list(map(plain, value.items))
    if isinstance(value, Map):
        return {key: plain(item) for key, item in value.pairs}
    return value


@settings(max_examples=60, deadline=None)
@given(PLAIN, st.integers(3, 5))
def test_plain_values_come_to_what_pickle_makes_of_them(value, protocol):
    raw = pickle.dumps(value, protocol)
    done = follow(raw)
    assert done.end == len(raw)
    assert plain(done.value) == value


def test_every_opcode_there_is_is_followed_or_refused():
    known = {ord(opcode.code) for opcode in pickletools.opcodes}
    assert known == set(STEPS) | set(REFUSED) | {ord(".")}


def test_no_allowed_name_becomes_another_under_python_2_names():
    import _compat_pickle

    for module, name in VALUES | set(CALLS):
        assert (module, name) not in _compat_pickle.NAME_MAPPING
        renamed = _compat_pickle.IMPORT_MAPPING.get(module)
        assert renamed is None or (renamed, name) in VALUES | set(CALLS), (module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [("builtins", n) for n in ("eval", "exec", "getattr", "__import__", "open", "map", "compile", "vars", "type")]
    + [("os", "system"), ("torch", "load"), ("torch.hub", "load"), ("numpy", "load"), ("numpy", "fromfile"),
       ("numpy.testing._private.utils", "runstring"), ("torch.serialization", "load"), ("torch.storage", "_load_from_bytes"),
       ("torch.nn", "Module"), ("joblib", "load"), ("collections", "namedtuple"), ("_codecs", "decode"),
       ("operator", "attrgetter"), ("sklearn.linear_model._logistic", "LogisticRegression")],
)  # fmt: skip
def test_names_that_are_not_on_the_list(module, name):
    raw = (
        b"\x80\x04\x8c"
        + bytes([len(module)])
        + module.encode()
        + b"\x8c"
        + bytes([len(name)])
        + name.encode()
        + b"\x93."
    )
    with pytest.raises(Stop):
        follow(raw)


def test_other_scanners_agree_that_what_we_allow_is_safe(tmp_path):
    picklescan = pytest.importorskip("picklescan.scanner")
    import benign

    for name, raw in {**benign.pickles(), **benign.torches()}.items():
        if name.startswith(("packed", "xz", "arrays.joblib", "names.joblib", "fortran.joblib")):
            continue  # joblib's bytes between the opcodes, which it does not read
        found = picklescan.scan_bytes(io.BytesIO(raw), name)
        assert found.infected_files == 0, name


def test_a_second_opinion_finds_nothing_that_we_let_through(tmp_path):
    picklescan = pytest.importorskip("picklescan.scanner")
    import malicious

    from redoubt.supply import judge

    caught = 0
    for name, raw in malicious.pickles(tmp_path / "marker", "true").items():
        found = picklescan.scan_bytes(io.BytesIO(raw), name)
        if found.infected_files:
            caught += 1
            assert not judge(name, raw).allowed
    assert caught > 10
