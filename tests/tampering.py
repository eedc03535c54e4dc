"""Ways to change a stored release behind its back, for the tests and the proof of `verify`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import Store
from pipelines.store.recipes import blob_path, digest


def evidence(store: Store, release: str, kind: str) -> Artifact:
    """The verdict that the release was promoted on, or its evaluation."""
    promotion = Journal(store).latest("promote", to=release)
    assert promotion
    verdict = load_exactly(store, "verdict", promotion.verdict or "")
    return verdict if kind == "verdict" else load_exactly(store, "evaluation", verdict.inputs["evaluation"])


def part(store: Store, release: str, kind: str) -> Artifact:
    return load_exactly(store, kind, load_exactly(store, "release", release).inputs[kind])


def overwrite(store: Store, path: str, body: bytes) -> None:
    """Write an object anew: what is there may be a hard link into the store of another test."""
    target = Path(str(store.local)) / path
    target.unlink(missing_ok=True)
    target.write_bytes(body)


def edit_manifest(artifact: Artifact, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(artifact.manifest.model_dump_json())
    change(content)
    overwrite(artifact.store, f"{artifact.kind}/{artifact.id}/manifest.json", json.dumps(content).encode())


def replace(artifact: Artifact, name: str, body: bytes) -> None:
    """Replace a file, and name it in the manifest."""
    entry = {"sha256": digest(body), "bytes": len(body)}
    overwrite(artifact.store, f"blobs/{entry['sha256']}", body)
    edit_manifest(artifact, lambda content: content["files"].update({name: entry}))


def replace_json(artifact: Artifact, name: str, **changes: Any) -> None:
    replace(artifact, name, json.dumps(artifact.json(name) | changes).encode())


def blob_of(artifact: Artifact) -> str:
    return blob_path(next(iter(artifact.manifest.files.values())))


def flip(store: Store, path: str) -> None:
    body = bytearray(store.read(path))
    body[len(body) // 2] ^= 1
    overwrite(store, path, bytes(body))


def edit_entry(store: Store, n: int, **changes: Any) -> None:
    path = f"journal/{n:08d}.json"
    overwrite(store, path, json.dumps(json.loads(store.read(path)) | changes).encode())


def edit_last_entry(store: Store, **changes: Any) -> None:
    """The entry that no other holds by its sha256."""
    edit_entry(store, len(Journal(store).entries), **changes)


def swapped_run(store: Store, release: str) -> None:
    """The first and the last document of every query change places."""
    evaluation = evidence(store, release, "evaluation")
    lines: dict[str, list[list[str]]] = {}
    for line in evaluation.text("run.trec").splitlines():
        lines.setdefault(line.split()[0], []).append(line.split())
    for rows in lines.values():
        rows[0][2], rows[-1][2] = rows[-1][2], rows[0][2]
    body = "".join(" ".join(row) + "\n" for rows in lines.values() for row in rows)
    replace(evaluation, "run.trec", body.encode())


def other_judgments(store: Store, release: str) -> None:
    evaluation = evidence(store, release, "evaluation")
    first, *rest = evaluation.text("qrels.txt").splitlines()
    replace(evaluation, "qrels.txt", ("\n".join([first[:-1] + "0", *rest]) + "\n").encode())


def better_query(store: Store, release: str) -> None:
    evaluation = evidence(store, release, "evaluation")
    rows = [json.loads(line) for line in evaluation.text("per_query.jsonl").splitlines()]
    rows[0]["release"]["nDCG@10"] += 0.001
    replace(evaluation, "per_query.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())


def other_rows(store: Store, release: str, change: Callable[[list[str]], list[str]]) -> None:
    evaluation = evidence(store, release, "evaluation")
    rows = evaluation.text("per_query.jsonl").splitlines(keepends=True)
    replace(evaluation, "per_query.jsonl", "".join(change(rows)).encode())


def better_mean(store: Store, release: str) -> None:
    evaluation = evidence(store, release, "evaluation")
    measures = evaluation.json("measures.json")["measures"]
    measures["nDCG@10"]["release"]["mean"] += 0.001
    replace_json(evaluation, "measures.json", measures=measures)


def other_documents(store: Store, release: str) -> None:
    corpus = part(store, release, "corpus")
    replace(corpus, "documents.jsonl", corpus.text("documents.jsonl").replace("a", "b", 1).encode())


def reversed_index(store: Store, release: str) -> None:
    """The vectors of the index belong to other documents."""
    index = part(store, release, "index")
    replace(index, "ids.json", json.dumps(index.json("ids.json")[::-1]).encode())


def other_vectors(store: Store, release: str) -> None:
    embedded = part(store, release, "embeddings")
    name = next(name for name in embedded.manifest.files if name.endswith("vectors.npy"))
    vectors = np.load(embedded.path(name))
    target = Path(str(store.local)).parent / "vectors.npy"
    np.save(target, vectors[::-1])
    replace(embedded, name, target.read_bytes())


def other_probes(store: Store, release: str) -> None:
    artifact = load_exactly(store, "release", release)
    encoder = artifact.json("release.json")["encoder"]
    replace_json(artifact, "release.json", encoder=encoder[::-1])


def card_without_encoder(store: Store, release: str) -> None:
    artifact = load_exactly(store, "release", release)
    card = artifact.json("release.json")
    del card["encoder"]
    replace(artifact, "release.json", json.dumps(card).encode())


def wider_margin(store: Store, release: str) -> None:
    verdict = evidence(store, release, "verdict")
    rules = verdict.json("gate_file.json")["rules"]
    rules[0]["margin"] = 0.4
    replace_json(verdict, "gate_file.json", rules=rules)


def removed(store: Store, path: str) -> None:
    (Path(str(store.local)) / path).unlink()


TAMPERED: dict[str, Callable[[Store, str], None]] = {
    "a bit of the index": lambda s, r: flip(s, blob_of(part(s, r, "index"))),
    "a file cut short": lambda s, r: overwrite(s, blob_of(part(s, r, "encoder")), b"short"),
    "a file removed": lambda s, r: removed(s, blob_of(part(s, r, "embeddings"))),
    "a manifest removed": lambda s, r: removed(s, f"evaluation/{evidence(s, r, 'evaluation').id}/manifest.json"),
    "a param of a recipe": lambda s, r: edit_manifest(part(s, r, "index"), lambda c: c["recipe"]["params"].update(recall=0.5)),
    "an input of a recipe": lambda s, r: edit_manifest(
        evidence(s, r, "verdict"), lambda c: c["recipe"]["inputs"].update(release="0" * 20)
    ),
    "documents, in line with the manifest": other_documents,
    "a card that names another encoder": other_probes,
    "a card without its encoder": card_without_encoder,
    "a run, in line with the manifest": swapped_run,
    "a judgment, in line with the manifest": other_judgments,
    "the value of a query": better_query,
    "the row of a query removed": lambda s, r: other_rows(s, r, lambda rows: rows[1:]),
    "the row of each query twice": lambda s, r: other_rows(s, r, lambda rows: [*rows, *rows]),
    "the rows of queries in another order": lambda s, r: other_rows(s, r, lambda rows: rows[::-1]),
    "a mean": better_mean,
    "a mean of the manifest": lambda s, r: edit_manifest(
        evidence(s, r, "evaluation"), lambda c: c["facts"]["measures"]["nDCG@10"].update(mean=0.9)
    ),
    "the outcome of a verdict": lambda s, r: replace_json(evidence(s, r, "verdict"), "verdict.json", outcome="undecided"),
    "the sentence of a manifest": lambda s, r: edit_manifest(
        evidence(s, r, "verdict"), lambda c: c["facts"].update(sentence="passed: by far")
    ),
    "a rule of the gate file": wider_margin,
    "ids of the index, in line with the manifest": reversed_index,
    "vectors, in line with the manifest": other_vectors,
    "a reason in the journal": lambda s, r: edit_entry(s, 1, why="somebody else's"),
    "where the last entry comes from": lambda s, r: edit_last_entry(s, **{"from": "0" * 20}),
    "the verdict of the last entry": lambda s, r: edit_last_entry(s, verdict="0" * 20),
    "the release of the last entry": lambda s, r: edit_last_entry(s, to="0" * 20),
    "the routes of the last entry": lambda s, r: edit_last_entry(s, routing={"champion": "0" * 20, "challenger": None}),
    "release and routes of the last entry": lambda s, r: edit_last_entry(
        s, to="0" * 20, routing={"champion": "0" * 20, "challenger": None}
    ),
    "the action of the last entry": lambda s, r: edit_last_entry(s, action="rollback"),
    "an entry of the journal removed": lambda s, r: removed(s, "journal/00000001.json"),
}
"""By what is changed; each function gets the store and the release."""
