"""`make demo-break`: plants three harms, one after another; each must be refused.

The first two are planted in a copy of the store, the third goes through the whole chain in Airflow.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from demo.__main__ import run_chain, run_quietly, save_report
from demo.services import Services
from pipelines.corpus.icons import installed_icons
from pipelines.embeddings.layout import rows, vectors
from pipelines.errors import InputError, StepError
from pipelines.store.artifacts import Artifact, committed, load_exactly, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe

WORSE_TEXT = "label+category"


def refusal(step: str, **values: Any) -> str:
    """The message with which a step refuses its inputs.

    Raises:
        AssertionError: it did not refuse them.
    """
    try:
        answer = run_quietly(step, **values)
    except InputError as error:
        return str(error)
    raise AssertionError(f"{step} accepted it: {answer}")


def swapped_tokenizer(store: Store, scratch: Path) -> str:
    """Assemble the champion's embeddings and index with an encoder whose tokenizer has other token ids; returns the refusal."""
    champion = champion_of(store)
    encoder = load_exactly(store, "encoder", champion.inputs["encoder"])
    tokenizer = encoder.json("tokenizer.json")
    vocabulary = tokenizer["model"]["vocab"]
    words = [word for word in vocabulary if word.isalpha()]
    shifted = dict(zip(words, [vocabulary[word] for word in words[1:] + words[:1]], strict=True))
    tokenizer["model"]["vocab"] = {**vocabulary, **shifted}
    (scratch / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    harmed = run_quietly("export_encoder", tokenizer=str(scratch)).encoder
    return refusal("assemble", index=champion.inputs["index"], embeddings=champion.inputs["embeddings"], encoder=harmed)


def lost_vectors(store: Store, scratch: Path) -> str:
    """Commit a shard that lacks 1 % of its vectors, for a corpus with one more icon; returns the refusal."""
    champion = champion_of(store)
    corpus = run_quietly("ingest", folder=str(_one_more_icon(scratch))).corpus
    planned = run_quietly("plan", corpus=corpus, encoder=champion.inputs["encoder"], mode="full")
    parts = {"corpus": corpus, "encoder": planned.encoder}
    whole = load_exactly(store, "shard", run_quietly("embed", **parts, shard=planned.shards[0]).shard)
    recipe = Recipe(
        kind="shard",
        step="embed",
        version=1,
        inputs={**whole.inputs, "documents": "lossy"},
        params=whole.manifest.recipe.params,
    )
    lossy = produce(store, recipe, lambda folder: _lose_one_percent(whole, folder))
    return refusal("commit_embeddings", **parts, shards=[lossy.id])


def _one_more_icon(scratch: Path) -> Path:
    target = scratch / "collection"
    shutil.copytree(installed_icons() / "metadata", target / "metadata")
    icons = json.loads((target / "metadata" / "icons.json").read_text(encoding="utf-8"))
    icons["one-more"] = {**icons["house"], "label": "One more house"}
    (target / "metadata" / "icons.json").write_text(json.dumps(icons), encoding="utf-8")
    return target


def _lose_one_percent(whole: Artifact, folder: Path) -> dict[str, Any]:
    import numpy as np

    kept = [number for number in range(len(rows(whole))) if number % 100]
    np.save(folder / "vectors.npy", vectors(whole)[kept])
    lines = whole.text("rows.jsonl").splitlines()
    (folder / "rows.jsonl").write_text("".join(lines[number] + "\n" for number in kept), encoding="utf-8")
    return {"documents": len(kept)}


def worse_ranking(run: Callable[[dict[str, Any]], Any], store: Store) -> str:
    """Run the chain with categories added to the documents' text, which ranks worse; returns the verdict's sentence."""
    before = Journal(store).routing
    run({"text": WORSE_TEXT})
    assert Journal(store).routing == before, "the worse release changed what serves"
    return refused_verdict(store).facts["sentence"]  # type: ignore[no-any-return]


def refused_verdict(store: Store) -> Artifact:
    """The verdict that rejects the worse ranking against the current champion.

    Raises:
        AssertionError: there is none.
    """
    champion = Journal(store).routing.champion
    verdicts = [load_exactly(store, "verdict", name) for name in committed(store, "verdict")]
    rejected = [
        verdict for verdict in verdicts if (verdict.facts["outcome"], verdict.facts["champion"]) == ("rejected", champion)
    ]
    worse = [verdict for verdict in rejected if _text_param(store, verdict.facts["release"]) == WORSE_TEXT]
    assert worse, "no verdict rejects the worse ranking"
    return max(worse, key=lambda verdict: str(verdict.manifest.provenance["at"]))


def _text_param(store: Store, release: str) -> str:
    """The `text` param of the release's corpus: which fields of a document are searched."""
    corpus = load_exactly(store, "release", release).inputs["corpus"]
    return str(load_exactly(store, "corpus", corpus).facts["text"])


def champion_of(store: Store) -> Artifact:
    """The release that serves the default traffic.

    Raises:
        InputError: there is none.
    """
    champion = Journal(store).routing.champion
    if champion is None:
        raise InputError("a store without a champion", "one that serves", "run `make demo` first")
    return load_exactly(store, "release", champion)


def copied_store(home: Path, target: Path) -> Store:
    """A copy of the home's store for planting harms; blobs are hard links, since nothing writes into them."""
    if not (home / "store").is_dir():
        raise InputError(f"a store that is not {home / 'store'}", "the home's own, which is copied", "unset RATCHET_STORE")
    shutil.copytree(home / "store", target / "store", copy_function=_link)
    os.environ["RATCHET_HOME"], os.environ["RATCHET_STORE"] = str(target), ""
    return open_store()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def main() -> None:
    """Plant the three harms and print how each was refused."""
    services = Services()
    champion_of(open_store(services.settings))
    services.up(report=lambda _: None)
    environment = dict(os.environ)
    store = open_store(services.settings)
    print("Harm 1: the encoder's tokenizer is swapped for one with other token ids", flush=True)
    with tempfile.TemporaryDirectory(prefix="ratchet-harm-", dir=services.home) as folder:
        copy = copied_store(services.home, Path(folder))
        print(f"  REFUSED by assemble: {swapped_tokenizer(copy, Path(folder))}")
        print("\nHarm 2: 1 % of the vectors are lost on the way", flush=True)
        print(f"  REFUSED by commit_embeddings: {lost_vectors(copy, Path(folder))}")
    os.environ.clear()
    os.environ.update(environment)
    print("\nHarm 3: a challenger that ranks worse goes through the DAGs", flush=True)
    sentence = worse_ranking(lambda conf: run_chain(services, conf), store)
    print(f"  REFUSED by gate: {sentence}")
    print(f"\n3 harms planted, 3 refused; {champion_of(store).id} still serves.")
    print(f"  report    file://{save_report(services.home, refused_verdict(store))}")


if __name__ == "__main__":
    try:
        main()
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (AssertionError, httpx.HTTPError) as error:
        print(f"NOT refused: {error}", file=sys.stderr)
        sys.exit(1)
