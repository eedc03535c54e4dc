"""Perturbed queries: what each changes, that equal seeds give equal bytes, and what is absent is said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.corpus.documents import Query
from pipelines.errors import InputError
from pipelines.evaluation import word_sources
from pipelines.evaluation.perturbations import (
    Chance,
    check_names,
    neighbours,
    perturb_queries,
    typo,
    word_order,
)
from pipelines.evaluation.word_sources import (
    Misspellings,
    Unavailable,
    WordNet,
    installed_judge,
    installed_misspellings,
    installed_translator,
    installed_wordnet,
)
from tests.conftest import PROJECT

TEXTS = [
    "wireless headphones",
    "address book",
    "camera",
    "red leather sofa",
    "telephone",
    "sofa",
    "tv",
    "person walking with a cane",
]
QUERIES = [Query(id=f"q{number}", text=text, split="test") for number, text in enumerate(TEXTS)]


@pytest.fixture
def wordnet(tmp_path: Path) -> WordNet:
    """Files in WordNet's format: sofa and telephone are nouns of two senses each, red is an adjective."""
    lines = ["  1 This line stands for the licence, which begins with blanks.\n"]
    offsets = []
    for words in (["sofa", "couch", "lounge"], ["sofa", "bed"], ["telephone", "phone", "telephone_set"]):
        offsets.append(len("".join(lines)))
        listed = " ".join(f"{word} 0" for word in words)
        lines.append(f"{offsets[-1]:08d} 06 n {len(words):02x} {listed} 000 | something  \n")
    (tmp_path / "data.noun").write_text("".join(lines))
    first, second, third = (f"{offset:08d}" for offset in offsets)
    index = [f"sofa n 2 1 @ 2 1 {first} {second}  ", f"telephone n 1 1 @ 1 1 {third}  "]
    (tmp_path / "index.noun").write_text("  1 Licence.\n" + "\n".join(index) + "\n")
    (tmp_path / "data.adj").write_text("00000000 00 s 02 red 0 crimson(a) 0 000 | of a colour  \n")
    (tmp_path / "index.adj").write_text("red a 1 1 & 1 1 00000000  \n")
    return WordNet(tmp_path)


def made(name, sources=None, copies=1, seed=0, queries=QUERIES, least=0.7):
    return perturb_queries(queries, name, copies, seed, least, sources or {})


def test_typos_are_real_misspellings_and_else_neighbouring_keys():
    dictionary = installed_misspellings()
    assert len(dictionary.by_word) > 10_000
    assert "camera" not in dictionary.by_word
    for number in range(30):
        real = typo("address", Chance(number), {"misspellings": dictionary})
        assert real in dictionary.by_word["address"]
        slip = typo("camera", Chance(number), {"misspellings": dictionary})
        ((before, after),) = [pair for pair in zip("camera", slip, strict=True) if pair[0] != pair[1]]
        assert after in neighbours(before)
        assert slip[0] == "c"


def test_a_misspelling_of_several_words_and_lines_of_code_are_left_out(tmp_path):
    path = tmp_path / "dictionary.txt"
    path.write_text("aache->cache, ache,\nadres->address\n2rd->2nd\nadress->address\n")
    assert Misspellings(path).by_word == {"address": ["adres", "adress"]}


def test_the_case_of_a_word_is_kept(tmp_path):
    path = tmp_path / "dictionary.txt"
    path.write_text("adres->address\n")
    found = [typo(text, Chance(0), {"misspellings": Misspellings(path)}) for text in ("address", "Address", "ADDRESS")]
    assert found == ["adres", "Adres", "ADRES"]


def test_word_order_swaps_neighbours_and_needs_two_words():
    assert {word_order("a b c", Chance(seed), {}) for seed in range(20)} == {"b a c", "a c b"}
    assert word_order("one", Chance(0), {}) == word_order("ha ha", Chance(0), {}) == ""


def test_a_dropped_word_and_casing():
    dropped, cased = made("dropped_word"), made("casing")
    assert (dropped.queries, dropped.not_applicable) == (4, 4)
    assert all(len(copy.text.split()) == len(copy.original.split()) - 1 for copy in dropped.copies)
    assert cased.queries == len(TEXTS)
    assert all(copy.text.lower() == copy.original and copy.text != copy.original for copy in cased.copies)


def test_the_first_sense_gives_synonyms(wordnet):
    assert wordnet.synonyms("sofa") == ["couch", "lounge"]
    assert wordnet.synonyms("telephone") == ["phone", "telephone set"]
    assert wordnet.synonyms("red") == ["crimson"]
    assert wordnet.synonyms("camera") == []


def test_paraphrases_of_another_meaning_are_left_out(wordnet):
    sources = {"wordnet": wordnet, "judge": installed_judge()}
    every, kept = made("synonym", sources, copies=8, least=0), made("synonym", sources, copies=8, least=0.7)
    assert kept.filtered > every.filtered
    assert {copy.text for copy in kept.copies} < {copy.text for copy in every.copies}
    assert all(copy.meaning >= 0.7 for copy in kept.copies)
    assert "red leather couch" in {copy.text for copy in every.copies}


def test_back_translation_is_real_and_keeps_small_letters():
    sources = {"translator": installed_translator(), "judge": installed_judge()}
    back = made("back_translation", sources, least=0)
    assert back.copies
    assert all(copy.text != copy.original and copy.text == copy.text.lower() for copy in back.copies)


def test_copies_are_distinct_and_the_seed_changes_them():
    sources = {"misspellings": installed_misspellings()}
    copies = made("typo", sources, copies=5).copies
    assert len(copies) > 25
    assert len({(copy.query, copy.text) for copy in copies}) == len(copies)
    assert [copy.text for copy in made("typo", sources, seed=1).copies] != [copy.text for copy in made("typo", sources).copies]


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_equal_seeds_give_equal_bytes_in_every_process(hash_seed):
    program = (
        "from tests.pipelines.evaluation.test_perturbations import *\n"
        "print([made(n, {'misspellings': installed_misspellings()}, 3).copies for n in ('typo', 'casing', 'word_order')])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(PROJECT)}
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    here = [made(name, {"misspellings": installed_misspellings()}, 3).copies for name in ("typo", "casing", "word_order")]
    assert other.stdout.strip() == repr(here)


def test_what_is_absent_is_not_run_and_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("RATCHET_WORDNET", str(tmp_path))
    with pytest.raises(Unavailable, match=r"no index\.noun of WordNet in .*: install Debian's wordnet-base") as absent:
        installed_wordnet()
    found = made("synonym", {"wordnet": absent.value, "judge": installed_judge()})
    assert (found.status, found.reason, found.copies) == ("not run", str(absent.value), [])
    monkeypatch.setattr(word_sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="codespell is not installed: run"):
        installed_misspellings()


def test_a_damaged_dictionary_is_not_run(wordnet, tmp_path):
    (tmp_path / "dictionary.txt").write_text("no arrow here\n")
    damaged = made("typo", {"misspellings": Misspellings(tmp_path / "dictionary.txt")})
    assert damaged.status == "not run"
    assert "codespell's dictionary.txt with 'no arrow here'" in damaged.reason
    (wordnet.folder / "data.noun").write_text("cut off")
    damaged = made("synonym", {"wordnet": wordnet, "judge": installed_judge()})
    assert damaged.status == "not run"
    assert "can't be read" in damaged.reason


@pytest.mark.parametrize(
    ("queries", "reason"),
    [
        ([], "no judged queries"),
        ([Query(id="h", text="titles", split="test", history=("d1",))], "no judged text queries"),
        ([Query(id="one", text="beach", split="test")], "it changes none of the 1 queries"),
    ],
)
def test_nothing_to_perturb_is_not_run(queries, reason):
    found = made("word_order", queries=queries)
    assert (found.status, found.reason) == ("not run", reason)


def test_unknown_perturbations_are_refused():
    assert check_names(["casing", "typo"]) == ("typo", "casing")
    with pytest.raises(InputError, match=r"given perturbation 'typos'; expected some of typo, casing"):
        check_names(["typos"])
    with pytest.raises(InputError, match="no perturbation"):
        check_names([])
