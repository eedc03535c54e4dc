"""Personal data: found as well as the page says, masked the same way each time, never shown."""

import re
import subprocess
import sys

import pytest

from pipelines.errors import InputError
from pipelines.quality.personal import KINDS, NAMES, SURE, WINDOW, Finder, Masker, masked, shape
from tests.conftest import PROJECT
from tests.pipelines.quality import synthetic
from tests.pipelines.quality.conftest import HOSTILE


@pytest.fixture(scope="module")
def scores():
    return synthetic.scores()


def test_precision_and_recall_are_those_of_the_page(scores):
    page = (PROJECT / "docs/data-quality.md").read_text()
    stated = re.findall(r"^\| ([A-Z_]+) \| ([\d.]+) \| ([\d.]+) \|", page, re.MULTILINE)
    assert [kind for kind, *_ in stated] == list(scores)
    for kind, *figures in stated:
        assert [float(one) for one in figures] == pytest.approx(scores[kind], abs=0.02), kind


def test_kinds_with_a_form_are_nearly_always_right(scores):
    assert min(min(scores[kind]) for kind in SURE) >= 0.97


def test_masking_is_the_same_each_time_and_leaves_the_rest():
    masker = Masker()
    given = synthetic.texts()[:300]
    for text, kind, planted in given:
        hidden = masker(text)
        assert masker(hidden) == hidden
        assert Masker()(text) == masked(text) == hidden
        if kind in ("EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE"):
            assert hidden == text.replace(planted, f"<{kind}>")
        if not kind and "<" not in hidden:
            assert hidden == text
    assert masker.counts["EMAIL_ADDRESS"] == sum(kind == "EMAIL_ADDRESS" for _, kind, _ in given)


def test_names_are_masked_when_asked():
    assert masked("Anna Smith lives in Boston") == "Anna Smith lives in Boston"
    assert Masker(KINDS)("Anna Smith lives in Boston") == "<PERSON> lives in <LOCATION>"
    assert Masker(NAMES)("ann@example.org called") == "ann@example.org called"
    with pytest.raises(InputError, match="kinds NAME"):
        Masker(["NAME"])


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_texts(text):
    assert masked(text) == text
    assert masked(f"{text} ann@example.org {text}") == f"{text} <EMAIL_ADDRESS> {text}"


def test_long_texts_are_searched_to_their_end():
    places = [0, WINDOW - 210, WINDOW - 10, 3 * WINDOW + 7]
    text = ("word " * WINDOW)[: 4 * WINDOW]
    for place in places:
        text = f"{text[:place]} ann@example.org {text[place:]}"
    assert masked(text).count("<EMAIL_ADDRESS>") == len(places)
    assert [one.kind for one in Finder(KINDS).find(text)].count("EMAIL_ADDRESS") == len(places)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["a", "1", "1 ", "1-", "a1:", "a@", "AB12 ", "1.", "::"])
def test_no_text_takes_forever(text):
    Finder().find(text * (20_000 // len(text)))


def test_finding_imports_no_engine_that_it_does_not_use_and_leaves_them_importable():
    code = """import sys; from pipelines.quality.personal import KINDS, masked, Finder
assert Finder(KINDS).find("ann@example.org") and masked("ann@example.org") == "<EMAIL_ADDRESS>"
print(sorted({"torch", "transformers"} & set(sys.modules)))
import torch, transformers; print(torch.ones(1).item())"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["[]", "1.0"]


def test_shapes_say_nothing():
    assert shape("Ann O'Hara, +44-20 7946/0958 é日") == "xxx xxxxxx, +99-99 9999/9999 xx"
    assert len(shape("x" * 1000)) == 41
