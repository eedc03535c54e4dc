"""docs/security.md: each risk of both lists has a line, and each line a test that exists or an honest word."""

import re

import pytest

from proofs import pages
from proofs.security import places
from tests.conftest import PROJECT

PAGE = (PROJECT / "docs/security.md").read_text()
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def rows(prefix):
    return re.findall(rf"^\| ({prefix}\d+) ([^|]+)\| ([^|]+)\| ?([^|]*)\|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(
    ("prefix", "names"), [("API", [f"API{n}" for n in range(1, 11)]), ("ML", [f"ML{n:02}" for n in range(1, 11)])]
)
def test_every_risk_has_a_line_with_a_test_or_says_that_it_is_not_covered(prefix, names):
    found = rows(prefix)
    assert [name for name, *_ in found] == names
    for name, _, held, tests in found:
        assert TEST.search(tests) or held.startswith("not covered"), name


def test_every_named_test_exists():
    named = TEST.findall(PAGE)
    assert len(named) >= 20
    for file, function in named:
        source = (PROJECT / file).read_text()
        assert re.search(rf"^(async )?def {function or 'test_'}", source, re.MULTILINE), f"{file}::{function}"


def test_the_proof_tried_every_route_that_there_is():
    assert pages.context()["proof_security"]["routes"] == len(places()), "run make proof-security, then make figures"


def test_a_name_that_is_none_is_seen():
    assert TEST.findall("`tests/a.py::test_b`, `tests/c.py`") == [("tests/a.py", "test_b"), ("tests/c.py", "")]
