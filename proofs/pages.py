"""`make figures`: writes the blocks of figures in README.md and docs anew, from the files in docs/figures.

A page has a line `<!-- figures: NAME -->` and, below it, a line `<!-- /figures -->`. The text between them is made from the
template `proofs/blocks/NAME.md`. To show the figures of another run, copy its file from `build/` to `docs/figures` first.
"""

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benches import embeddings, scale, spine
from cluster import bench as pods
from tests.conftest import PROJECT

BLOCK = re.compile(r"^(<!-- figures: ([\w-]+) -->\n).*?^(<!-- /figures -->)$", re.MULTILINE | re.DOTALL)
TEMPLATES = Environment(
    loader=FileSystemLoader(PROJECT / "proofs/blocks"),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # Markdown, of our own figures
)
TEMPLATES.filters["f"] = format


def context() -> dict[str, Any]:
    """What a template can name: each file of docs/figures (`bench_spine`), the goals of the benches, and two functions."""
    files = {path.stem.replace("-", "_"): json.loads(path.read_text()) for path in (PROJECT / "docs/figures").glob("*.json")}
    speedup = f"{embeddings.BF16_SPEEDUP} with BF16, stretch 6; {embeddings.OTHER_SPEEDUP} without"
    encoder_goals = {embeddings.SPEEDUP: speedup, **embeddings.GOALS}
    goals = {"spine_goals": spine.GOALS, "pod_goals": pods.GOALS, "encoder_goals": encoder_goals}
    encoder_runs = [files[name] for name in sorted(files) if name.startswith("bench_embeddings")]
    return {**files, **goals, "encoder_runs": encoder_runs, "scale": scale.block, "matching": matching}


def matching(figures: dict[str, Any], pattern: str) -> list[Any]:
    """The figures whose names match a regular expression as a whole.

    >>> matching({"a_1": 2, "a_2": 3, "b_1": 5}, r"a_\\d")
    [2, 3]
    """
    return [value for name, value in figures.items() if re.fullmatch(pattern, name)]


def pages() -> list[Path]:
    """The pages that may have blocks."""
    return [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


def filled(page: str) -> str:
    """The text of a page with today's figures in its blocks.

    Raises:
        jinja2.TemplateNotFound: a block has no template.
        jinja2.UndefinedError: a template names a figure that no file has.
    """
    figures = context()
    return BLOCK.sub(lambda block: block[1] + TEMPLATES.get_template(f"{block[2]}.md").render(figures) + block[3], page)


def main() -> None:
    """Write the pages whose blocks are not as they would be made now."""
    for path in pages():
        text = path.read_text()
        if (made := filled(text)) != text:
            path.write_text(made)
            print(f"written: {path.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
