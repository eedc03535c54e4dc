"""Grades: scales that are declared, and those that are seen."""

import pytest

from pipelines.collections.schema.grades import Scale, infer_scale
from pipelines.errors import InputError


@pytest.mark.parametrize(
    ("text", "written", "grades"),
    [
        ("0..3", ["0", "3", "2.0", 1, "4", "-1", "1.5", "", "x", None], [0, 3, 2, 1, None, None, None, None, None, None]),
        ("3..0", ["3", "0"], [0, 3]),
        ("1..5", ["1", "5.0", "0"], [0, 4, None]),
        ("-2..1", ["-2", "1"], [0, 3]),
        ("0,0.5,1", ["0.5", "0.50", "1.0"], [1, 1, 2]),
        ("Irrelevant,Partial,Exact", ["exact", " PARTIAL ", "irrelevant", "E"], [2, 1, 0, None]),
        ("not relevant, highly relevant", ["Highly-Relevant", "not_relevant"], [1, 0]),
        ("False,True", [True, False, "true"], [1, 0, 1]),
    ],
)
def test_a_declared_scale_gives_grades(text, written, grades):
    assert [Scale.parse(text).grade_of(one) for one in written] == grades


@pytest.mark.parametrize("text", ["", "3", "a", "0..0", "0...3", "a..b", "0..99999", "x,x", "x,,y", "1,1.0", "0..999999999999"])
def test_what_is_no_scale_is_refused(text):
    with pytest.raises(InputError, match="worst to best"):
        Scale.parse(text)


@pytest.mark.parametrize(
    ("written", "shown", "grades"),
    [
        (["0", "1", "2"], "0..2, 2 is the best", [0, 1, 2]),
        (["1"], "0..1, 1 is the best", [1]),
        (["1", "2"], "0..2, 2 is the best", [1, 2]),
        (["1", "3", "5"], "1..5, 5 is the best", [0, 2, 4]),
        (["-2", "0", "2"], "0..2, 2 is the best", [0, 0, 2]),
        (["0.0", "1.0", "2.0"], "0..2, 2 is the best", [0, 1, 2]),
        (["0", "0.5", "1"], "0 < 0.5 < 1", [0, 1, 2]),
        (["0", "1", "2", "3", "n/a"], "0..3, 3 is the best", [0, 1, 2, 3, None]),
        (["E", "I"], "I < C < S < E", [3, 0]),
        (["Exact", "Partial"], "Irrelevant < Partial < Exact", [2, 1]),
        (["relevant", "not relevant"], "not relevant < relevant", [1, 0]),
        (["Highly Relevant", "Relevant", "Not Relevant"], "Not Relevant < Relevant < Highly Relevant", [2, 1, 0]),
        (["perfect", "bad", "fair"], "bad < fair < good < excellent < perfect", [4, 0, 1]),
        (["yes", "no"], "no < yes", [1, 0]),
        ([True, False], "False < True", [1, 0]),
        (["ja", "nein"], "nein < ja", [1, 0]),
        (["non pertinent", "pertinent"], "non pertinent < pertinent", [0, 1]),
    ],
)
def test_a_scale_is_seen_in_what_was_written(written, shown, grades):
    scale = infer_scale(written)
    assert scale.shown == shown
    assert [scale.grade_of(one) for one in written] == grades


@pytest.mark.parametrize(
    "written",
    [
        ["meh", "wow"],
        [],
        [""],
        [f"0.{n}" for n in range(1, 60)],
        ["0", "5000"],
        ["9" * 15],
        ["-" + "9" * 15, "0"],
        ["yes", "meh", "wow", "oh"],
    ],
)
def test_what_has_no_order_is_asked_for(written):
    with pytest.raises(InputError, match="--"):
        infer_scale(written)


@pytest.mark.parametrize("text", ["0..3", "3..0", "Irrelevant,Partial,Exact", "0,0.5,1"])
def test_a_scale_is_turned(text):
    scale = Scale.parse(text)
    turned = Scale.parse(scale.turned)
    best = len(scale.names) - 1
    assert [turned.grade_of(name) for name in scale.names] == [best - scale.grade_of(name) for name in scale.names]
    assert Scale.parse(turned.turned).names == scale.names
