"""A suite says what it means, or is refused with the place where it does not."""

import sqlite3
from datetime import date

import pytest

from pipelines.errors import InputError
from pipelines.quality.expectations import _read_only, check_suite, evaluate, known_expectations
from pipelines.quality.staging import StagingFile
from pipelines.quality.suite import LARGEST, parse_suite, read_suite
from tests.pipelines.quality.conftest import DAY

SOUND = """\
name: shop
checks:
  documents:
    - expectation: expect_column_values_to_be_unique
      kwargs: {column: id}
      level: fail
"""
CHECK = SOUND.partition("\n")[2]


def parsed(text):
    return parse_suite(text.encode() if isinstance(text, str) else text, "suite.yaml")


def test_shipped_suite_is_one_and_every_check_says_why():
    suite = read_suite("")
    check_suite(suite)
    assert len(suite.checks) > 40
    assert all(one.check.counts and one.check.why for one in suite.checks)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("checks: [", ["line 1", "expected YAML"]),
        ("a: b: c", ["line 1", "YAML"]),
        ("- 1", ["line 1", "a mapping with name, extends, checks"]),
        ("", ["checks"]),
        ("checks: 7", ["line 1: checks 7"]),
        ("name: x", ["checks"]),
        ("cheks: {}", ["line 1", "key 'cheks'", "one of name, extends, checks"]),
        ("name: [1]\nchecks: {}", ["line 1", "name"]),
        ("extends: ours\nchecks: {}", ["line 1", "extends 'ours'", "default or nothing"]),
        ("checks:\n  docs: []", ["line 2", "key 'docs'", "documents"]),
        ("checks:\n  documents: 3", ["line 2", "a list of checks"]),
        ("checks:\n  documents:\n    - 3", ["line 2", "a mapping with expectation"]),
        ("checks: {documents: [{level: fail}]}", ["line 1", "expectation nothing", "Field required"]),
        (CHECK.replace("level: fail", "level: error"), ["line 5", "level 'error'", "'warn' or 'fail'"]),
        (CHECK.replace("level: fail", "levl: fail"), ["line 5", "key 'levl'"]),
        (CHECK + "      mostly: 1.5\n", ["line 6", "mostly 1.5", "less than or equal to 1"]),
        (CHECK + "      mostly: often\n", ["line 6", "mostly 'often'", "number"]),
        (CHECK + "      mostly: .nan\n", ["line 6", "finite"]),
        (CHECK + "      level: warn\n", ["line 6", "key 'level' again"]),
        (CHECK + "      reviewed: 'no'\n", ["line 6", "reviewed 'no'", "boolean"]),
        (CHECK + "      reviewed: true\n", ["line 6", "by nobody", "reviewed_by"]),
        (CHECK + "      reviewed: false\n      reviewed_by: ann\n", ["line 6", "one of the two"]),
        (CHECK + CHECK.partition("documents:\n")[2], ["line 6", "the check of suite.yaml line 3 again"]),
        (CHECK.replace("column: id", "column: price"), ["line 3", "column 'price' of documents", "one of line, id, text"]),
        (CHECK.replace("column: id", "column: 'id; DROP TABLE documents'"), ["line 3", "one of line, id, text"]),
        (CHECK.replace("column: id", "column: id, mostly: 1"), ["line 3", "mostly beside"]),
        (CHECK.replace("column: id", "column: id, row_condition: 'col(\"price\")>1'"), ["line 3", "column 'price'"]),
        (CHECK.replace("{column: id}", "{column: id, regex: '('}"), ["line 3", "regular expression"]),
        ("a: &x [1]\nb: *x", ["line 2", "alias"]),
        ("name: !!python/object/apply:os.system [ls]\nchecks: {}", ["line 1", "name"]),
        ("? [a]\n: 1", ["line 1", "expected a name"]),
        ("[" * 100_000, ["YAML"]),
        ("checks: " + "{a: " * 30 + "1" + "}" * 30, ["levels"]),
        ("checks: {}\n" + "#" * LARGEST, ["1,000,000 bytes"]),
        (b"\xff\xfe\x00", ["UTF-8"]),
        ("a: \x00", ["YAML"]),
    ],
)  # fmt: skip
def test_what_is_no_suite(text, words):
    with pytest.raises(InputError) as refused:
        parsed(text)
    for word in ["suite.yaml", *words]:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"expectation": "expect_magic"}, ["expectation 'expect_magic'", "one of expect_"]),
        ({"expectation": "expect_column_values_unique"}, ["one of expect_column_values_to_be_unique, "]),
        ({"expectation": "expect_column_values_to_be_increasing"}, ["can't be evaluated in SQL"]),
        ({"expectation": "expect_table_row_count_to_equal_other_table"}, ["one of"]),
        ({"kwargs": "{colum: id}"}, ["'colum' of expect_column_values_to_be_unique", "one of column, row_condition"]),
        ({"kwargs": "{}"}, ["column: field required"]),
        ({"expectation": "expect_column_values_to_be_between", "kwargs": "{column: characters}"}, ["cannot both be None"]),
        ({"expectation": "expect_column_values_to_be_between", "kwargs": "{column: characters, min_value: x}"}, ["min_value"]),
        ({"expectation": "expect_column_values_to_be_in_set", "kwargs": "{column: id, value_set: {$PARAMETER: a}}"}, ["a"]),
        ({"expectation": "expect_column_min_to_be_between", "kwargs": "{column: id, min_value: 1}", "mostly": "1"}, ["mostly"]),
        ({"kwargs": "{column: id, meta: {a: 1}}"}, ["'meta'"]),
    ],
)  # fmt: skip
def test_what_great_expectations_does_not_know(check, words):
    said = {"expectation": "expect_column_values_to_be_unique", "kwargs": "{column: id}", "level": "fail", **check}
    text = "checks: {documents: [{" + ", ".join(f"{key}: {value}" for key, value in said.items()) + "}]}"
    suite = parsed(text)
    with pytest.raises(InputError) as refused:
        check_suite(suite)
    for word in ["suite.yaml line 1", *words]:
        assert word in str(refused.value)


def test_digest_is_of_what_is_said():
    suite = parsed(SOUND)
    assert parsed("# a comment\n" + SOUND.replace("{column: id}", "\n        column: id")).digest == suite.digest
    assert parsed(SOUND.replace("fail", "warn")).digest != suite.digest
    assert parsed(SOUND.replace("fail", "fail\n      reviewed: false")).digest != suite.digest


def test_what_counts():
    proposal = SOUND + "      observed: 7 rows\n"
    for text, counts in [
        (SOUND, True), (SOUND + "      reviewed: false\n", False),
        (proposal, False), (proposal + "      reviewed: false\n", False), (proposal + "      reviewed_by: ' '\n", False),
        (proposal + "      reviewed_by: ann\n", True), (SOUND + "      reviewed: true\n      reviewed_by: ann\n", True),
    ]:  # fmt: skip
        assert parsed(text).checks[0].check.counts is counts, text


def test_own_check_takes_the_place_of_the_shipped_one_only_when_it_counts():
    shipped = read_suite("default").checks
    ours = parsed("extends: default\n" + SOUND.replace("fail", "warn")).checks
    assert len(ours) == len(shipped)
    assert ours[-1].check.level == "warn"
    proposed = parsed("extends: default\n" + SOUND.replace("fail", "warn\n      reviewed: false")).checks
    assert proposed[:-1] == shipped


def test_great_expectations_can_not_write(tmp_path):
    StagingFile(tmp_path / "staging.db", date.fromisoformat(DAY)).close()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        _read_only(tmp_path / "staging.db").execute("DELETE FROM documents")


ARGUMENTS = {
    "value_set": [1], "value": 1, "min_value": 1, "threshold": 2, "double_sided": True, "regex": "a", "regex_list": ["a"],
    "like_pattern": "a%", "like_pattern_list": ["a%"], "type_": "TEXT", "type_list": ["TEXT"], "sum_total": 3,
    "value_pairs_set": [[1, 2]], "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[1, 2]]},
    "partition_object": {"values": [1], "weights": [1]}, "column_set": ["id"],
}  # fmt: skip
OPTIONAL = ("min_value", "regex", "type_list", "threshold", "partition_object", "column_set")


def test_every_expectation_of_the_list_can_be_evaluated(tmp_path):
    """Also tells that the list has none that Great Expectations can't do on SQLite."""
    from great_expectations import expectations

    classes = {one.expectation_type: one for one in vars(expectations).values() if getattr(one, "expectation_type", "")}
    listed = []
    for name in known_expectations():
        fields = classes[name].__fields__
        kwargs = {key: value for key, value in ARGUMENTS.items() if key in fields and (fields[key].required or key in OPTIONAL)}
        kwargs |= {key: "characters" for key in ("column", "column_A") if key in fields}
        kwargs |= {"column": "text"} if {"regex", "regex_list"} & set(kwargs) else {}
        kwargs |= {"column_B": "words"} if "column_B" in fields else {}
        kwargs |= {"column_list": ["characters", "words"]} if "column_list" in fields else {}
        if name == "expect_column_kl_divergence_to_be_less_than":
            kwargs = {key: kwargs[key] for key in ("column", "partition_object", "threshold")}
        listed.append(f"{{expectation: {name}, level: warn, kwargs: {kwargs}}}".replace("True", "true"))
    suite = parsed("checks: {documents: [" + ", ".join(listed) + "]}")
    staged = StagingFile(tmp_path / "staging.db", date.fromisoformat(DAY))
    for number in range(5):
        staged.add("documents", (number, f"d{number}", "abc", "t", "s", 3 + number, 1, "c", "en", 0))
    staged.close()
    outcomes = evaluate(staged.path, suite, {})
    assert len(outcomes) == len(known_expectations()) == 50
    assert [one.check.expectation for one in outcomes if one.status not in ("passed", "warned")] == []
