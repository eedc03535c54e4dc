"""`make demo-break`: three planted harms, one after another; each must be refused.

The first two are planted in a copy of the store, the third goes the whole way through Airflow.
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

from demo.__main__ import chain, save_report
from demo.__main__ import quietly as call
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
    """The sentence with which a step refuses.

    Raises:
        AssertionError: it did not refuse.
    """
    try:
        answer = call(step, **values)
    except InputError as error:
        return str(error)
    raise AssertionError(f"{step} accepted it: {answer}")


def swapped_tokenizer(store: Store, scratch: Path) -> str:
    """An encoder whose tokenizer numbers its words otherwise is put beside the champion's embeddings and index."""
    champion = _champion(store)
    encoder = load_exactly(store, "encoder", champion.inputs["encoder"])
    tokenizer = encoder.json("tokenizer.json")
    words = tokenizer["model"]["vocab"]
    ordinary = [word for word in words if word.isalpha()]
    shifted = dict(zip(ordinary, [words[word] for word in ordinary[1:] + ordinary[:1]], strict=True))
    tokenizer["model"]["vocab"] = {**words, **shifted}
    (scratch / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    harmed = call("export_encoder", tokenizer=str(scratch)).encoder
    return refusal("assemble", index=champion.inputs["index"], embeddings=champion.inputs["embeddings"], encoder=harmed)


def lost_vectors(store: Store, scratch: Path) -> str:
    """A corpus with one more icon is embedded anew; the shard comes back with 1 % of its vectors missing, and no error."""
    champion = _champion(store)
    corpus = call("ingest", folder=str(_one_more_icon(scratch))).corpus
    planned = call("plan", corpus=corpus, encoder=champion.inputs["encoder"], mode="full")
    parts = {"corpus": corpus, "encoder": planned.encoder}
    whole = load_exactly(store, "shard", call("embed", **parts, shard=planned.shards[0]).shard)
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


def worse_ranking(run_chain: Callable[[dict[str, Any]], Any], store: Store) -> str:
    """A well-meant change, the categories added to what is searched, goes the whole way and ranks worse."""
    before = Journal(store).routing
    run_chain({"text": WORSE_TEXT})
    assert Journal(store).routing == before, "the worse release changed what serves"
    return refused_verdict(store).facts["sentence"]  # type: ignore[no-any-return]


def refused_verdict(store: Store) -> Artifact:
    """The verdict that rejects the worse ranking against the champion of today.

    Raises:
        AssertionError: there is none.
    """
    champion = Journal(store).routing.champion
    verdicts = [load_exactly(store, "verdict", name) for name in committed(store, "verdict")]
    rejected = [one for one in verdicts if (one.facts["outcome"], one.facts["champion"]) == ("rejected", champion)]
    ours = [one for one in rejected if _text_of(store, one.facts["release"]) == WORSE_TEXT]
    assert ours, "no verdict rejects the worse ranking"
    return max(ours, key=lambda verdict: str(verdict.manifest.provenance["at"]))


def _text_of(store: Store, release: str) -> str:
    """What of a document the release searches."""
    corpus = load_exactly(store, "release", release).inputs["corpus"]
    return str(load_exactly(store, "corpus", corpus).facts["text"])


def _champion(store: Store) -> Artifact:
    champion = Journal(store).routing.champion
    if champion is None:
        raise InputError("a store without a champion", "one to harm", "run `make demo` first")
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
    """Plant the three harms and say how each was refused; exit 1 if one was not."""
    services = Services()
    _champion(open_store(services.settings))
    services.up(told=lambda _: None)
    given = dict(os.environ)
    store = open_store(services.settings)
    print("Harm 1: the encoder's tokenizer is swapped for one that numbers its words otherwise", flush=True)
    with tempfile.TemporaryDirectory(prefix="ratchet-harm-", dir=services.home) as folder:
        copy = copied_store(services.home, Path(folder))
        print(f"  REFUSED by assemble: {swapped_tokenizer(copy, Path(folder))}")
        print("\nHarm 2: 1 % of the vectors are lost on the way", flush=True)
        print(f"  REFUSED by commit_embeddings: {lost_vectors(copy, Path(folder))}")
    os.environ.clear()
    os.environ.update(given)
    print("\nHarm 3: a challenger that ranks worse goes through the DAGs", flush=True)
    sentence = worse_ranking(lambda conf: chain(services, conf), store)
    print(f"  REFUSED by gate: {sentence}")
    print(f"\n3 harms planted, 3 refused; {_champion(store).id} still serves.")
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
