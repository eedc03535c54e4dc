import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import ir_measures
import pytest
from ir_measures import read_trec_qrels, read_trec_run

from pipelines.__main__ import main
from pipelines.corpus.documents import Document, Qrel, Query, qrels, queries, write_rows
from pipelines.errors import InputError
from pipelines.evaluation.measures import CONDENSED, MEASURES
from pipelines.store.artifacts import load, produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import Trained, call, embedded_release
from tests.sharing import built_once, linked

HOSTILE = '<script>alert("x")</script> **b** | @all'


def corpus_of(documents: list[Document], queries: list[Query], qrels: list[Qrel]) -> str:
    """A corpus artifact with this content."""

    def build(folder: Path) -> dict[str, int]:
        write_rows(folder / "documents.jsonl", sorted(documents, key=lambda one: one.id))
        write_rows(folder / "queries.jsonl", queries)
        (folder / "qrels.txt").write_text("".join(qrel.line() + "\n" for qrel in qrels))
        return {"documents": len(documents), "queries": len(queries), "judgments": len(qrels)}

    content = repr((documents, queries, qrels))
    recipe = Recipe(kind="corpus", step="ingest", version=1, inputs={"content": content}, params={})
    return produce(open_store(), recipe, build).id


ANIMALS = [Document(id=f"d{number}", text=text, segment="pets" if number < 3 else "") for number, text in enumerate(
    ["small dog", "black cat", "goldfish", "oak tree", "steam train"]
)]  # fmt: skip


@dataclass(frozen=True)
class Graded:
    corpus: str
    release: str


@pytest.fixture
def graded(trained, tmp_path_factory) -> Graded:
    """Grades 0 to 3, one query without a relevant document, one without any judgment, one of the other split."""

    def build(folder: Path) -> dict[str, str]:
        linked(trained.home, folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(folder))
            corpus = graded_corpus()
            return {"corpus": corpus, "release": embedded_release(folder, corpus, trained.encoder).release}

    folder, ids = built_once(tmp_path_factory, "graded", build)
    linked(folder, trained.home)
    return Graded(**ids)


def graded_corpus() -> str:
    queries = [
        Query(id="q1", text="puppy", split="test"),
        Query(id="q2", text="kitten", split="test"),
        Query(id="q3", text="locomotive", split="test"),
        Query(id="q4", text="aquarium", split="test"),
        Query(id="q5", text="forest", split="train"),
    ]
    judged = [("q1", "d0", 3), ("q1", "d1", 1), ("q2", "d1", 2), ("q2", "d0", 0), ("q3", "d0", 0), ("q5", "d3", 1)]
    return corpus_of(ANIMALS, queries, [Qrel(query=query, document=document, grade=grade) for query, document, grade in judged])


@pytest.fixture(scope="session")
def _harmed_once(_trained_once: Trained, tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("harmed") / "home"
    shutil.copytree(_trained_once.home, folder, copy_function=os.link)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATCHET_HOME", str(folder))
        corpus = call("ingest", text="label+category").corpus
        worse = embedded_release(folder, corpus, _trained_once.encoder).release
        call("evaluate", release=worse, baseline=_trained_once.release)
        call("evaluate", release=_trained_once.release, baseline=worse)
    return folder, worse


@pytest.fixture
def worse(_harmed_once: tuple[Path, str], home: Path) -> str:
    """A release with real harm: the icons' categories stand in the text. Both are evaluated on the queries of either."""
    shutil.copytree(_harmed_once[0], home, copy_function=os.link)
    return _harmed_once[1]


@pytest.fixture
def better(worse: str, _trained_once: Trained) -> Trained:
    """The release that `worse` is compared with, in the same home."""
    return _trained_once


def serve(release: str) -> None:
    Journal(open_store()).append("deploy", release, "test", Routing(champion=release))


def rescored(artifact, run: str) -> dict[str, dict[str, float]]:
    """What ir_measures gives for the files of an evaluation, read again."""
    measures = [ir_measures.parse_measure(name) for name in [*MEASURES, CONDENSED]]
    qrels = list(read_trec_qrels(str(artifact.path("qrels.txt"))))
    found: dict[str, dict[str, float]] = {}
    for metric in ir_measures.iter_calc(measures, qrels, list(read_trec_run(str(artifact.path(run))))):
        found.setdefault(metric.query_id, {})[str(metric.measure)] = metric.value
    return found


def test_an_evaluation_of_the_icons(trained):
    found = call("evaluate", release=trained.release)
    assert (found.champion, found.baseline, found.found) == ("", "", False)
    assert 0.33 < found.low < found.ndcg_at_10 < found.high < 0.39
    artifact = load(open_store(), "evaluation", found.evaluation)
    rows = [json.loads(line) for line in artifact.text("per_query.jsonl").splitlines()]
    for side, run in (("release", "run.trec"), ("bm25", "bm25.trec")):
        again = rescored(artifact, run)
        assert {row["query"]: row[side] for row in rows} == again, f"{run} does not give the reported figures"
    summary = artifact.json("measures.json")
    mean = sum(row["release"]["nDCG@10"] for row in rows) / len(rows)
    assert summary["queries"] == len(rows) == artifact.facts["queries"] > 1300
    assert summary["measures"]["nDCG@10"]["release"]["mean"] == pytest.approx(mean, abs=1e-9)
    assert summary["measures"]["nDCG@10"]["difference"]["low"] > 0.2, "BM25 is far behind"

    again = call("evaluate", release=trained.release[:6])
    assert again.found
    assert again.evaluation == found.evaluation

    files = artifact.manifest.files
    (trained.home / "store" / "evaluation" / artifact.id / "manifest.json").unlink()
    call("evaluate", release=trained.release)
    assert load(open_store(), "evaluation", artifact.id).manifest.files == files, "equal input must give equal bytes"


def test_first_passes_worse_is_rejected_champion_is_not_judged(better, worse):
    first = call("evaluate", release=better.release)
    verdict = call("gate", evaluation=first.evaluation)
    assert verdict.passed
    assert verdict.sentence.startswith("passed: no champion yet; nDCG@10 0.3")

    serve(better.release)
    harm = call("evaluate", release=worse)
    assert (harm.champion, harm.found) == (better.release, True)
    with pytest.raises(InputError, match="without a baseline while"):
        call("gate", evaluation=harm.evaluation)
    verdict = call("gate", evaluation=harm.evaluation, baseline=harm.baseline)
    assert (verdict.outcome, verdict.passed, verdict.champion) == ("rejected", False, better.release)
    assert verdict.sentence.startswith("rejected: nDCG@10 −0.0")
    assert f"against champion {better.release[:8]}, over 1,3" in verdict.sentence
    stored = load(open_store(), "verdict", verdict.verdict)
    said = stored.json("verdict.json")
    assert said["high"] < 0 < said["margin"]
    assert len(said["worst_queries"]) == 10
    assert all(one["difference"] < -0.5 for one in said["worst_queries"])
    assert stored.text("verdict.md").startswith(f"**{verdict.sentence}**")
    assert stored.inputs == {"release": worse, "evaluation": harm.evaluation, "baseline": harm.baseline}

    told = call("why", release=worse[:5])
    assert told.sentence == verdict.sentence
    assert len(told.worst_queries) == 5
    assert call("why", release="champion").sentence.startswith("passed: no champion yet")

    same = call("evaluate", release=better.release)
    assert (same.baseline, same.champion) == ("", better.release)
    verdict = call("gate", evaluation=same.evaluation)
    assert (verdict.outcome, verdict.passed) == ("not run", False)
    assert "is the champion already" in verdict.sentence

    other = call("evaluate", release=worse, baseline="none", split="train")
    with pytest.raises(InputError, match="two evaluations of the same judged queries"):
        call("gate", evaluation=harm.evaluation, baseline=other.evaluation)


def test_identical_evaluations_differ_by_exactly_nothing(graded):
    one = call("evaluate", release=graded.release).evaluation
    verdict = call("gate", evaluation=one, baseline=one, margin=1e-6)
    said = load(open_store(), "verdict", verdict.verdict).json("verdict.json")
    assert (verdict.outcome, said["difference"], said["low"], said["high"]) == ("passed", 0, 0, 0)
    assert said["worst_queries"] == []


@pytest.mark.parametrize(("rule", "queries"), [("exclude", 2), ("zero", 3)])
def test_a_query_without_relevant_document_follows_the_rule(graded, rule, queries):
    artifact = load(open_store(), "evaluation", call("evaluate", release=graded.release, no_relevant=rule).evaluation)
    summary = artifact.json("measures.json")
    assert summary["queries"] == queries
    assert (summary["unjudged"], summary["no_relevant"]) == (1, {"queries": 1, "rule": rule})
    assert summary["measures"]["nDCG@10"]["release"]["mean"] == pytest.approx(2 / queries)
    assert f"1 queries, {'left out' if rule == 'exclude' else 'counted with 0'}" in artifact.text("report.html")


def test_no_judged_query_is_an_honest_not_run(trained):
    corpus = corpus_of(ANIMALS, [Query(id="q1", text="dog", split="test")], [])
    release = embedded_release(trained.home, corpus, trained.encoder).release
    found = call("evaluate", release=release)
    assert found.ndcg_at_10 is None
    verdict = call("gate", evaluation=found.evaluation)
    assert (verdict.outcome, verdict.passed, verdict.sentence) == ("not run", False, "not run: no judgments")
    assert "nothing was measured" in load(open_store(), "evaluation", found.evaluation).text("report.html")


@pytest.mark.parametrize(
    ("split", "judged", "reason"),
    [
        (
            "train",
            [("q1", 1)],
            "no judgments of test queries (1 train query is judged); `ingest --held-out true` makes all queries",
        ),
        ("test", [("q1", 0), ("q2", 0)], "none of the 2 judged test queries has a relevant document"),
        ("test", [], "no judgments"),
    ],
)
def test_what_was_not_measured_is_told_truly(split, judged, reason, trained):
    asked = [Query(id=name, text=text, split=split) for name, text in (("q1", "dog"), ("q2", "cat"))]
    corpus = corpus_of(ANIMALS, asked, [Qrel(query=query, document="d0", grade=grade) for query, grade in judged])
    found = call("evaluate", release=embedded_release(trained.home, corpus, trained.encoder).release)
    sentence = call("gate", evaluation=found.evaluation).sentence
    assert sentence == f"not run: {reason}" + (" test queries" if "held-out" in reason else "")


def test_the_document_that_a_query_was_made_from_is_left_out(trained):
    asked = [Query(id="d0", text="Small  Dog", split="test"), Query(id="d1", text="cat", split="test")]
    more = [Document(id="d9", text="a small dog with a collar"), Document(id="d8", text="a dog")]
    judged = [Qrel(query="d0", document="d9", grade=1), Qrel(query="d1", document="d1", grade=1)]
    corpus = corpus_of([*ANIMALS, *more], asked, judged)
    release = embedded_release(trained.home, corpus, trained.encoder).release
    artifact = load(open_store(), "evaluation", call("evaluate", release=release).evaluation)
    for run in ("run.trec", "bm25.trec"):
        ranked = {(one.query_id, one.doc_id) for one in read_trec_run(str(artifact.path(run)))}
        assert ("d0", "d0") not in ranked, "its own document"
        assert {("d0", "d9"), ("d1", "d1")} <= ranked, "a judged document stays, whatever its id"
    assert artifact.json("measures.json")["own_documents"] == 1
    assert "1 queries have the id and the text of a document" in artifact.text("report.html")
    plain = [query.model_copy(update={"id": f"q{query.id}"}) for query in asked]
    other = corpus_of([*ANIMALS, *more], plain, [one.model_copy(update={"query": f"q{one.query}"}) for one in judged])
    release = embedded_release(trained.home, other, trained.encoder).release
    assert (
        load(open_store(), "evaluation", call("evaluate", release=release).evaluation).json("measures.json")["own_documents"]
        == 0
    )


def two_dozen_queries(icons: Trained) -> str:
    """A corpus with so few of the icons' judged terms that the two texts can't be told apart by them."""
    full = load(open_store(), "corpus", icons.corpus)
    asked = queries(full, "test")[100:125]
    judged = [Qrel(query=one.id, document=document, grade=1) for one in asked for document in qrels(full).get(one.id, {})]
    return corpus_of(ANIMALS, asked, judged)


def test_few_queries_are_undecided_and_say_how_many_are_missing(better, worse):
    """Two dozen of the icons' terms can't tell the two texts apart, at the smallest margin that they can detect."""
    found = call("evaluate", release=worse, baseline=better.release, corpus=two_dozen_queries(better))
    pair = {"evaluation": found.evaluation, "baseline": found.baseline}
    with pytest.raises(InputError, match="which would hold") as refused:
        call("gate", **pair)
    verdict = call("gate", **pair, margin=float(refused.value.next_action.split()[2].rstrip(",")))
    assert verdict.outcome == "undecided", verdict.sentence
    assert load(open_store(), "verdict", verdict.verdict).json("verdict.json")["still_needed"] >= 1
    assert "more queries would decide" in verdict.sentence


def test_a_small_margin_is_refused_with_the_one_that_holds(better, worse, capfd):
    """Of a pair whose interval holds 0; nothing but the margin can decide on it."""
    found = call("evaluate", release=better.release, baseline=worse, corpus=two_dozen_queries(better))
    arguments = ["gate", "--evaluation", found.evaluation, "--baseline", found.baseline, "--margin"]
    assert main([*arguments, "0.001"]) == 2
    refused = capfd.readouterr().err
    assert "too small to detect with power 0.8" in refused
    assert main([*arguments, refused.rpartition("--margin ")[2].split(",")[0]]) == 0
    passed = json.loads(capfd.readouterr().out)
    assert passed["outcome"] == "passed"
    said = load(open_store(), "verdict", passed["verdict"]).json("verdict.json")
    assert said["low"] < 0 < said["high"]
    assert len(open_store().names("verdict/")) == 1, "a refused gate leaves nothing"


def test_a_clearly_better_release_passes_at_the_default_margin_though_that_is_too_small_to_detect(better, worse):
    found = call("evaluate", release=better.release, baseline=worse)
    verdict = call("gate", evaluation=found.evaluation, baseline=found.baseline)
    said = load(open_store(), "verdict", verdict.verdict).json("verdict.json")
    assert verdict.outcome == "passed", verdict.sentence
    assert said["low"] > 0
    assert said["margin"] < said["margin_that_holds"], "for a pair that is not told apart it would be refused"


def test_a_release_that_ranks_unjudged_documents_is_warned_about(trained):
    """The same texts under other ids: nobody judged them, so the release looks worse than it is."""
    renamed = [document.model_copy(update={"id": f"new-{document.id}"}) for document in ANIMALS]
    texts = ["dog", "cat", "fish", "tree", "train"]
    queries = [Query(id=f"q{number}", text=text, split="test") for number, text in enumerate(texts)]
    grades = [
        Qrel(query=query.id, document=document.id, grade=int(query.id[1:] == document.id[1:]))
        for query in queries
        for document in ANIMALS
    ]
    champion = embedded_release(trained.home, corpus_of(ANIMALS, queries, grades), trained.encoder)
    challenger = embedded_release(trained.home, corpus_of(renamed, queries, grades), trained.encoder)
    serve(champion.release)
    found = call("evaluate", release=challenger.release, corpus=champion.corpus)
    verdict = call("gate", evaluation=found.evaluation, baseline=found.baseline)
    artifact = load(open_store(), "verdict", verdict.verdict)
    (warning,) = artifact.json("verdict.json")["warnings"]
    assert "Judged@10 is 1.000 for the champion, 0.000 for the challenger" in warning
    assert warning in artifact.text("verdict.md")
    assert "judged only" in artifact.text("report.html")


@pytest.mark.parametrize(
    ("asked", "said", "given"),
    [
        ({"split": "train"}, "over 1 train queries", "by train queries"),
        ({"split": "all"}, "over 3 train and test queries", "by all queries"),
        ({"corpus": True}, "over 1,351 queries", "by test queries of corpus"),
    ],
)
def test_other_queries_than_the_releases_own_test_queries_are_named_and_not_promoted(
    trained, graded, capfd, asked, said, given
):
    corpus = trained.corpus if "corpus" in asked else graded.corpus
    found = call("evaluate", release=graded.release, **asked | {"corpus": corpus})
    verdict = call("gate", evaluation=found.evaluation)
    assert verdict.passed
    assert said in verdict.sentence
    artifact = load(open_store(), "verdict", verdict.verdict)
    body, page, text = artifact.json("verdict.json"), artifact.text("report.html"), artifact.text("verdict.md")
    assert (body["split"], body["corpus"]) == (asked.get("split", "test"), corpus)
    assert body["queries_digest"] == load(open_store(), "evaluation", found.evaluation).facts["queries_digest"]
    for name in ("split", "corpus", "queries_digest"):
        assert f"<dt>{name}</dt><dd>{body[name]}</dd>" in page
        assert f"{name}: `{body[name]}`" in text
    assert main(["promote", "--verdict", verdict.verdict]) == 2
    assert given in capfd.readouterr().err
    assert Journal(open_store()).entries == []


def test_the_champion_is_judged_on_the_challengers_corpus_which_is_promoted(trained, graded):
    serve(trained.release)
    found = call("evaluate", release=graded.release)
    verdict = call("gate", evaluation=found.evaluation, baseline=found.baseline, margin=0.99)
    assert load(open_store(), "evaluation", found.baseline).inputs["corpus"] == graded.corpus
    assert call("promote", verdict=verdict.verdict).release == graded.release


def test_hostile_text_is_shown_and_never_run(trained):
    documents = [
        Document(id="d1", text="dog", title=HOSTILE, segment=HOSTILE, picture="<svg><script>alert(1)</script></svg>"),
        Document(id="d2", text="cat"),
    ]
    corpus = corpus_of(documents, [Query(id="q1", text=HOSTILE, split="test")], [Qrel(query="q1", document="d1", grade=1)])
    release = embedded_release(trained.home, corpus, trained.encoder).release
    page = load(open_store(), "evaluation", call("evaluate", release=release).evaluation).text("report.html")
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;") >= 3, "query, title and segment are shown as they are"
    assert "data:image/svg+xml;base64," in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "nothing"], "given release 'nothing'"),
        (["evaluate", "{release}", "--split", "validation"], "--split: 'validation'"),
        (["evaluate", "{release}", "--depth", "10"], "--depth: '10'"),
        (["evaluate", "{release}", "--baseline", "someone"], "given release 'someone'"),
        (["evaluate", "{release}", "--corpus", "zzzz"], "given corpus 'zzzz'"),
        (["evaluate", "{release}", "--no-relevant", "one"], "--no-relevant: 'one'"),
        (["evaluate", "{release}", "--confidence", "nan"], "--confidence: 'nan'"),
        (["gate", "nothing"], "given evaluation 'nothing'"),
        (["gate", "nothing", "--margin", "inf"], "--margin: 'inf'"),
        (["gate", "nothing", "--margin", "0"], "--margin: '0'"),
        (["gate", "nothing", "--measure", "CTR"], "--measure: 'CTR'"),
        (["why", "nothing"], "given release 'nothing'"),
        (["why", "champion"], "given champion; expected a champion, and there is none yet"),
        (["why", "abcd", "--release", "abcd"], "'abcd' and also --release 'abcd'"),
    ],
)
def test_bad_input_is_one_message_and_exit_2(trained, capfd, arguments, said):
    assert main([argument.replace("{release}", trained.release) for argument in arguments]) == 2
    out, err = capfd.readouterr()
    assert said in err
    assert "; next: " in err
    assert "Traceback" not in err
    assert out == ""
    assert open_store().names("evaluation/") == open_store().names("verdict/") == []


def test_why_without_a_verdict_says_what_to_run(trained, capfd):
    assert main(["why", trained.release[:4]]) == 0
    assert "no verdict on release" in json.loads(capfd.readouterr().out)["sentence"]


def test_why_champion_tells_the_verdict_by_which_it_serves(trained, graded, capfd):
    """Judged again while it serves, and against a later champion: neither is why it was promoted."""
    evaluation = call("evaluate", release=graded.release).evaluation
    first = call("gate", evaluation=evaluation)
    call("promote", verdict=first.verdict)
    serve(graded.release)
    unchanged = call("gate", evaluation=evaluation)
    assert unchanged.outcome == "not run"
    later = call("gate", evaluation=evaluation, measure="AP")
    told = call("why", release="champion")
    assert (told.verdict, told.sentence, told.serves_as) == (first.verdict, first.sentence, "champion")
    assert sorted(told.earlier) == sorted([unchanged.sentence, later.sentence])

    damaged = trained.home / "store" / "verdict" / unchanged.verdict / "manifest.json"
    damaged.write_bytes(damaged.read_bytes()[:80])
    told = call("why", release=graded.release)
    assert (told.verdict, told.earlier) == (first.verdict, [later.sentence])
    assert unchanged.verdict in told.damaged[0]
    capfd.readouterr()
    assert main(["why", "champion"]) == 0
    assert unchanged.verdict in capfd.readouterr().err


def test_a_verdict_of_before_gate_files_is_given_anew_by_the_command_that_promote_tells(graded, capfd):
    evaluation = call("evaluate", release=graded.release).evaluation
    now = load(open_store(), "verdict", call("gate", evaluation=evaluation).verdict)
    params = {name: now.manifest.recipe.params[name] for name in ("measure", "margin", "confidence", "power", "champion")}
    recipe = Recipe(kind="verdict", step="gate", version=3, inputs=now.manifest.recipe.inputs, params=params)

    def build(folder):
        for name in ("verdict.json", "verdict.md", "report.html"):
            shutil.copyfile(now.path(name), folder / name)
        return now.facts

    before = produce(open_store(), recipe, build).id
    with pytest.raises(InputError, match=r"by gate 3, today's is \d+; .*run `python -m pipelines gate ") as refused:
        call("promote", verdict=before)
    command = refused.value.next_action.partition("python -m pipelines ")[2].partition("`")[0]
    capfd.readouterr()
    assert main(command.split()) == 0
    again = json.loads(capfd.readouterr().out)["verdict"]
    assert again == now.id != before
    assert call("promote", verdict=again).release == graded.release


def test_why_ranks_what_was_not_run_last(graded):
    evaluation = call("evaluate", release=graded.release).evaluation
    passed = call("gate", evaluation=evaluation)
    serve(graded.release)
    not_run = call("gate", evaluation=evaluation)
    told = call("why", release=graded.release)
    assert (told.verdict, told.earlier, told.damaged) == (passed.verdict, [not_run.sentence], [])
