"""Gate files: what is read, what is refused and with which words, and how options of the step change a file."""

import pytest
import yaml

from pipelines.errors import InputError
from pipelines.gates.files import FOLDER, gate_file_names
from pipelines.gates.gate_file import LARGEST, parse_gate_file, read_gate_file

QUALITY = {"name": "quality", "comparison": "champion", "measure": "nDCG@10", "margin": 0.02}
FILE = {"name": "shop", "description": "What the shop needs.", "rules": [QUALITY]}


def parsed(**changed):
    return parse_gate_file(yaml.safe_dump({**FILE, **changed}).encode(), "shop.yaml")


def test_every_shipped_file_is_valid_and_named_as_its_file():
    names = gate_file_names()
    assert "default" in names
    assert names == sorted(path.stem for path in FOLDER.iterdir() if path.suffix == ".yaml")
    assert [read_gate_file(name).name for name in names] == names


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"rules": [{**QUALITY, "margn": 0.1}]},
            r"shop.yaml, rule 1 \(quality\), margn: 0.1; expected no such key: one of name,",
        ),
        ({"treshold": 1}, r"shop.yaml, treshold: 1; expected no such key: one of name, description"),
        ({"rules": [QUALITY, {**QUALITY, "name": "b", "margin": 0}]}, r"rule 2 \(b\), margin: 0; expected greater than 0"),
        ({"rules": [{**QUALITY, "margin": 1}]}, r"margin: 1; expected less than 1"),
        ({"rules": [{**QUALITY, "margin": float("nan")}]}, r"margin: nan; expected a finite number"),
        ({"rules": [{**QUALITY, "margin": "wide"}]}, r"margin: wide; expected a valid number"),
        ({"rules": [{**QUALITY, "level": 95}]}, r"level: 95; expected less than or equal to 0.999"),
        ({"rules": [{**QUALITY, "measure": "CTR"}]}, r"expected a measure of ir_measures from 0 to 1, .*; not CTR"),
        ({"rules": [{**QUALITY, "measure": "P@0"}]}, r"a measure of ir_measures .*; not P@0"),
        ({"rules": [{**QUALITY, "measure": "nDCG(dcg='exp-log2')@10"}]}, r"a measure of ir_measures"),
        ({"rules": [{**QUALITY, "comparison": "rival"}]}, r"comparison: rival; expected 'champion'"),
        ({"rules": [{**QUALITY, "severity": "stops"}]}, r"severity: stops; expected 'blocks' or 'warns'"),
        ({"rules": [{**QUALITY, "scope": ["weather"]}]}, r"scope: weather; expected 'corpus'"),
        ({"rules": [{**QUALITY, "least": 0.3}]}, r"expected `least` for a rule with `comparison: absolute`"),
        ({"rules": [QUALITY, {"name": "floor", "comparison": "absolute"}]}, r"rule 2 \(floor\).*expected `least`"),
        ({"rules": [QUALITY, QUALITY]}, r"expected rules of different names, and quality comes twice"),
        ({"rules": [{**QUALITY, "name": "fresh queries"}]}, r"expected another name than fresh queries"),
        ({"rules": []}, r"expected a rule that blocks and whose comparison is champion"),
        ({"rules": [{**QUALITY, "severity": "warns"}]}, r"expected a rule that blocks and whose comparison is champion"),
        ({"rules": ["quality"]}, r"rule 1.*quality; expected a valid dictionary"),
        ({"rules": "quality"}, r"rules.*: quality; expected a valid list"),
        ({"power": 0.3}, r"power: 0.3; expected greater than or equal to 0.5"),
        ({"description": ""}, r"description; expected String should have at least 1 character"),
    ],
)
def test_what_is_refused(changed, words):
    with pytest.raises(InputError, match=rf"{words}.*next: correct it; docs/evaluation.md has the format"):
        parsed(**changed)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"a: [", "expected YAML"),
        (b"\x80", "expected YAML"),
        (b"\xff\xfe\x00a", "with str; expected name, description and rules"),
        (b"[" * 5000, "expected YAML"),
        (b"", "with NoneType; expected name, description and rules"),
        (b"- 1", "with list; expected name, description and rules"),
        (b"!!python/object/apply:os.system [echo]", "expected YAML"),
        (b"# " + b"x" * LARGEST, "of more than 1,000,000 bytes"),
    ],
)
def test_what_is_no_gate_file(body, words):
    with pytest.raises(InputError, match=words):
        parse_gate_file(body, "shop.yaml")


def test_a_file_by_its_path_and_one_that_is_not_there(tmp_path):
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(FILE))
    assert read_gate_file(str(tmp_path / "shop.yaml")).main.name == "quality"
    with pytest.raises(InputError, match=r"'nonsense'; expected one of .*default.*, or the path of a YAML file"):
        read_gate_file("nonsense")
    with pytest.raises(InputError, match=r"nothing.yaml: .*No such file.*; expected a YAML file that can be read"):
        read_gate_file(str(tmp_path / "nothing.yaml"))


def test_options_change_the_main_rule_and_the_digest_follows_what_decides():
    file = parsed(rules=[QUALITY, {**QUALITY, "name": "recall", "measure": "R@100"}])
    changed = file.overridden({"margin": 0.1}, None)
    assert [rule.margin for rule in changed.rules] == [0.1, 0.02]
    assert changed.digest != file.digest
    assert file.overridden({}, None).digest == file.digest
    assert file.overridden({}, 0.9).power == 0.9
    assert parsed(rules=[QUALITY, {**QUALITY, "name": "recall", "measure": "R@100"}]).digest == file.digest


def test_options_that_leave_the_anchor_without_its_rule_are_refused():
    file = parsed(rules=[QUALITY, {"name": "anchor", "comparison": "anchor", "measure": "nDCG@10", "margin": 0.03}])
    assert file.overridden({"margin": 0.03}, None).main.margin == 0.03
    expected = r"expected beside anchor a rule that blocks by nDCG@10 against the champion, no wider margin; next: write it"
    for option in ({"margin": 0.05}, {"measure": "RR@10"}):
        with pytest.raises(InputError, match=rf"gate file shop with {next(iter(option))} .*; {expected}"):
            file.overridden(option, None)
