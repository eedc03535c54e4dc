"""Policies of drift: what is read, and what is refused with which words."""

import pytest

from pipelines.drift.policy import AREAS, read_drift_policy
from pipelines.errors import InputError

GOOD = "name: p\ndescription: d\nareas: {tokens: {watch: 0.1, act: 0.2, repairs: [page]}}\n"


def test_the_shipped_policy_has_every_area_and_one_false_alarm_in_120_days():
    shipped = read_drift_policy("")
    assert tuple(shipped.areas) == AREAS
    assert shipped.level == pytest.approx(1 / 120)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "with NoneType; expected name, description and areas"),
        ("a: [", "expected a YAML file that can be read"),
        ("name: p\ndescription: d", "areas; expected a value"),
        (GOOD + "colour: red", "colour: red; expected no such key: one of name"),
        (GOOD.replace("watch", "watsch"), "areas tokens watsch: 0.1; expected no such key: one of watch"),
        (GOOD.replace("tokens", "smells"), "areas smells"),
        (GOOD.replace("[page]", "[pray]"), "areas tokens repairs 0: pray"),
        (GOOD.replace("[page]", "[page, page]"), "expected each repair once"),
        (GOOD.replace("0.2", "0.05"), "expected watch of at most act"),
        (GOOD + "days_per_false_alarm: 1", "days_per_false_alarm: 1; expected greater than or equal to 2"),
        (GOOD + "window_days: .nan", "window_days: nan"),
    ],
)
def test_a_policy_that_can_not_be_is_refused(tmp_path, text, words):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        read_drift_policy(str(path))
    assert words in str(refused.value)
    assert "; next: " in str(refused.value)


def test_a_policy_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_drift_policy(str(tmp_path / "none.yaml"))
