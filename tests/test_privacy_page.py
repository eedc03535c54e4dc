"""docs/privacy.md: each line of its tables has a command or test that exists, or says that it is not covered."""

import re

import pytest

from pipelines.contract import load_step
from pipelines.erasure.places import NOT_SEARCHED, PLACES
from tests.conftest import PROJECT

PAGE = (PROJECT / "docs/privacy.md").read_text()
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def rows(heading):
    """The lines of the table below a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("GDPR", ("purpose", "minimisation", "retention", "access", "erasure")),
        ("SOC 2 and ISO 27001", ("access control", "deletion", "logging", "change")),
    ],
)
def test_every_line_has_a_test_or_says_that_it_is_not_covered(heading, words):
    found = rows(heading)
    assert all(any(word in name for name, *_ in found) for word in words)
    for name, held, tests in found:
        assert TEST.search(tests) or held.startswith("not covered"), name


def test_every_named_test_exists():
    named = TEST.findall(PAGE)
    assert len(named) >= 20
    for file, function in named:
        source = (PROJECT / file).read_text()
        assert re.search(rf"^(async )?def {function or 'test_'}", source, re.MULTILINE), f"{file}::{function}"


def test_every_place_and_what_is_not_searched_is_on_the_page():
    table = " ".join(name for name, *_ in rows("Erase a person or a document"))
    for place in PLACES:
        if not place.name.startswith("artifacts: "):
            assert place.name.removesuffix(" of shards") in table, place.name
    words = ("sources", "backups", "Airflow's database", "caches of other machines", "files that somebody", "versions that a")
    words += ("feature store", "tables that dbt or others", "logs of servers on")
    assert all(word in text and word in PAGE for word, text in zip(words, NOT_SEARCHED, strict=True))
    assert "subject" in load_step("erase").params.model_fields
