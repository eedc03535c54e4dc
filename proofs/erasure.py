"""`make proof-erasure`: planted people and documents, kills, tampering; writes build/proof/erasure.json, exit 1 if one failed.

The encoder's vectors are random, so a release takes seconds; stores, logs, kills (SIGKILL to a process) and servers are real.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.access.pseudonyms import pseudonym
from pipelines.errors import InputError
from pipelines.store.artifacts import load_exactly
from pipelines.store.erasures import CERTIFICATE
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from tests.conftest import PROJECT, call
from tests.encoders import static_encoder
from tests.figures import write_figures
from tests.images.serve.server import running_server
from tests.planted import (
    DOCUMENT,
    KEY,
    PERSON,
    TITLE,
    everywhere,
    plant_in_features,
    plant_in_store,
    planted_corpus,
    planted_everywhere,
    released,
)
from tests.tampering import TAMPERED

SEED = 0
CHANGES = ("create", "move", "delete", "keep", "write")
ASKED = {"kind": "document", "subject": DOCUMENT, "why": "proof"}


def at_home(home: Path, **more: str) -> None:
    """Work in this home from now on."""
    os.environ.update({"RATCHET_HOME": str(home), "RATCHET_USER": "proof", "RATCHET_SERVER_KEY": KEY, **more})


def erased(home: Path, subjects: int) -> dict[str, int]:
    """Ask for all erasures, release one successor, finish all; what was found where, and what is left."""
    planted_everywhere(home)
    plant_in_features(load_exactly(open_store(), "release", Journal(open_store()).routing.champion or "").inputs["corpus"])
    half = subjects // 2 - 1
    names = [("user", PERSON), ("document", DOCUMENT)]
    names += [("user", f"user-{n:02}") for n in range(half)] + [("document", f"item-{n:03}") for n in range(half)]
    successor = ""
    for kind, name in names:
        asked = call("erase", kind=kind, subject=name, why="proof")
        assert asked.waits_for
        successor = asked.successor
    released(successor)
    places: set[str] = set()
    for kind, name in names:
        done = call("erase", kind=kind, subject=name, why="proof")
        assert done.finished, done
        found = load_exactly(open_store(), "report", done.certificate).json(CERTIFICATE)["found"]
        places |= {place for place, held in found.items() if held}
    hidden = [pseudonym(KEY.encode(), name) for kind, name in names if kind == "user"]
    left = set(everywhere(home, (TITLE, *hidden, *(name for _, name in names))))
    print(f"{len(names)} subjects were in {len(places)} places and are in {len(left)} files now: {sorted(places)}", flush=True)
    return {"erasure_places": len(places), "subjects": len(names), "erasure_leftovers": len(left)}


def killed(folder: Path, points: int) -> dict[str, int]:
    """Kill the erasure before so many changes, evenly spread, and run it again; how often it ended as if undisturbed."""
    at_home(folder / "prepared")
    planted_corpus()
    planted_corpus(seed=3)
    plant_in_store(open_store())
    changes, whole = run_child(folder, 0), state(folder / "home")
    passed = 0
    chosen = sorted({1 + n * (changes - 1) // max(1, points - 1) for n in range(points)})
    for point in chosen:
        run_child(folder, point)
        at_home(folder / "home")
        call("erase", **ASKED)
        passed += state(folder / "home") == whole
    print(f"killed before {len(chosen)} of {changes} changes, {passed} ended as if undisturbed", flush=True)
    return {"kill_points": len(chosen), "kill_points_passed": passed}


def run_child(folder: Path, point: int) -> int:
    """Erase in another process, from the prepared store, killed before change `point`; 0: not killed. The changes it made."""
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(folder / "prepared", home)
    at_home(home)
    command = [sys.executable, "-m", "proofs.erasure", "--child", str(point)]
    done = subprocess.run(
        command, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == (-signal.SIGKILL if point else 0), done.stderr[-2000:]
    return 0 if point else int(done.stdout.splitlines()[-1])


def child(point: int) -> int:
    """What `run_child` starts."""
    made = 0
    operation = Store.operation

    @contextlib.contextmanager
    def counted(self: Store, name: str, path: str) -> Iterator[None]:
        nonlocal made
        made += name in CHANGES
        if made == point and name in CHANGES:
            os.kill(os.getpid(), signal.SIGKILL)
        with operation(self, name, path):
            yield

    Store.operation = counted  # type: ignore[method-assign]
    call("erase", **ASKED)
    print(made)
    return 0


def state(home: Path) -> dict[str, Any]:
    """What must not depend on a kill: nothing is left, who was retired, and the entries."""
    journal = Journal(open_store())
    certificate = load_exactly(open_store(), "report", journal.entries[-1].verdict or "").json(CERTIFICATE)
    return {
        "left": everywhere(home, (DOCUMENT, TITLE)),
        "retired": certificate["retired"],
        "entries": [(entry.action, bool(entry.verdict)) for entry in journal.entries],
        "corpora": sorted(path.name for path in (home / "store/corpus").iterdir() if any(path.iterdir())),
    }


def verified(home: Path, folder: Path) -> int:
    """Releases that are what they say: the champion, one that was not judged, and a bundle without network."""
    champion = call("verify", release="champion").release
    index = load_exactly(open_store(), "release", champion).inputs["index"]
    call("verify", release=call("assemble", index=index).release)
    bundle = call("export_release", release="champion", file=str(folder / "r.bundle")).file
    offline = f"ip link set lo up 2>/dev/null; exec {sys.executable} -m proofs.erasure --offline {bundle}"
    fresh = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "RATCHET_HOME": str(folder / "fresh"),
        "RATCHET_STORE": f"bundle://{bundle}",
    }
    hidden = home.rename(folder / "hidden")
    try:
        subprocess.run(
            ["unshare", "--net", "sh", "-c", offline], cwd=PROJECT, env={**os.environ, **fresh}, check=True, timeout=300
        )
    finally:
        hidden.rename(home)
    return 3


def serve_offline() -> int:
    """Verify and serve the bundle that the environment names."""
    call("verify", release="champion")
    with running_server(Path(os.environ["RATCHET_HOME"]), RATCHET_STORE=os.environ["RATCHET_STORE"]) as server:
        server.wait(lambda status: status["ready"], within_s=200)
        assert len(server.search("oak chair", k=3).json()["results"]) == 3
    print("verified and served without network", flush=True)
    return 0


def tampered(home: Path, folder: Path) -> dict[str, int]:
    """Change a release in every way, each time in a copy; how often `verify` found it."""
    release, found = Journal(open_store()).routing.champion or "", 0
    for what, change in TAMPERED.items():
        copy = folder / "tampered"
        shutil.copytree(home, copy)
        at_home(copy)
        change(open_store(), release)
        try:
            call("verify", release=release)
            print(f"NOT found: {what}", flush=True)
        except InputError:
            found += 1
        shutil.rmtree(copy)
    at_home(home)
    return {"tampered": len(TAMPERED), "tampered_found": found}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--subjects", type=int, default=22)
    parser.add_argument("--kills", type=int, default=200)  # more than there are changes: before each
    parser.add_argument("--child", type=int)
    parser.add_argument("--offline")
    options = parser.parse_args()
    if options.child is not None:
        return child(options.child)
    if options.offline:
        return serve_offline()
    folder = Path(tempfile.mkdtemp(prefix="ratchet-proof-"))
    try:
        home = folder / "world"
        at_home(home)
        static_encoder()
        released(planted_corpus())
        figures = tampered(home, folder) | {"verified_releases": verified(home, folder)}
        figures |= erased(home, options.subjects)
        call("verify", release="champion")
        figures["verified_releases"] += 1
        (folder / "kills").mkdir()
        figures |= killed(folder / "kills", options.kills)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write_figures("proof/erasure", figures, seed=SEED, runs=1)
    pairs = (("kill_points", "kill_points_passed"), ("tampered", "tampered_found"))
    return 0 if all(figures[made] == figures[good] for made, good in pairs) and not figures["erasure_leftovers"] else 1


if __name__ == "__main__":
    sys.exit(main())
