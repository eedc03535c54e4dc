"""The changelog's commands and tables, as somebody who upgrades would use them."""

import importlib
import re
import subprocess

from pipelines.contract import step_modules
from tests.conftest import PROJECT

CHANGELOG = (PROJECT / "CHANGELOG.md").read_text()
(COMMAND,) = re.findall(r"^\s*(sed -E -i\.bak .*)$", CHANGELOG, re.MULTILINE)
MOVED = re.findall(r"^\s*\| `[\w.]+`(?:: (.*?))? \| `([\w.]+)` \|$", CHANGELOG, re.MULTILINE)


def corrected(folder, source: str) -> str:
    path = folder / "dags" / "own.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    subprocess.run(["bash", "-ec", COMMAND], cwd=folder, check=True)
    return path.read_text()


def test_the_line_corrects_the_import_of_every_step(tmp_path):
    steps = [step for group in re.findall(r"steps\\\.\(([a-z_|]+)\)", COMMAND) for step in group.split("|")]
    assert len(steps) == 26, "every step of the time; what came later was never elsewhere"
    now = {step: step_modules()[step] for step in steps}
    source = "".join(f"from pipelines.steps.{step} import VERSION, {step}\n" for step in steps)
    source += "".join(f"import pipelines.steps.{step}\n" for step in steps)
    after = corrected(tmp_path, source)
    imported: dict[str, object] = {}
    exec(after, imported)
    assert {imported[step].__module__ for step in steps} == set(now.values())
    assert sorted(re.findall(r"^import (\S+)$", after, re.MULTILINE)) == sorted(now.values())
    assert corrected(tmp_path, after) == after, "a second time it changes nothing"


def test_what_is_no_step_stays(tmp_path):
    source = "from pipelines.steps.count_words import count_words\nfrom pipelines.steps.index_names import x\n"
    assert corrected(tmp_path, source) == source


def test_modules_that_moved_are_where_the_table_says():
    assert len(MOVED) >= 7
    for names, module in MOVED:
        there = importlib.import_module(module)
        assert [name for name in re.findall(r"`(\w+)`", names) if not hasattr(there, name)] == []
