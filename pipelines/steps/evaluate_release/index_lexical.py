"""index_lexical: the documents of a corpus become a BM25 index, which a release may search beside its vectors."""

from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

VERSION = 1


class IndexLexicalParams(Params):
    corpus: str = Field("", description="Corpus id; empty: that of the index")
    index: str = Field("", description="Index id, in place of --corpus")
    language: str = Field(
        "auto",
        description="Stop words and stemmer: a language such as german, none, or auto: told by the documents' stop words",
    )
    k1: float = Field(1.5, ge=0, le=10, description="How much a word's repetition in a document counts")
    b: float = Field(0.75, ge=0, le=1, description="How much long documents are marked down")


class IndexLexicalResult(Result):
    lexical: str
    corpus: str
    language: str
    documents: int
    words: int
    """Distinct words, after stop words and stemming."""
    found: bool


def index_lexical(params: IndexLexicalParams) -> IndexLexicalResult:
    """Index the documents' words for BM25, with the stop words and the stemmer of their language."""
    from pipelines.corpus.documents import documents
    from pipelines.retrieval.release import parts_of_index
    from pipelines.retrieval.stages.lexical import KIND, analysis_for, build_lexical, write_lexical

    store = open_store()
    if bool(params.corpus) == bool(params.index):
        raise InputError(
            f"--corpus {params.corpus!r} and --index {params.index!r}", "one of the two", "pass a corpus or an index"
        )
    corpus = load(store, "corpus", params.corpus) if params.corpus else parts_of_index(store, params.index).corpus
    texts = {document.id: document.text for document in documents(corpus)}
    analysis = analysis_for(params.language, texts.values())
    if params.language == "auto":
        log().info("documents are taken for this language", language=analysis.language, otherwise="pass --language")
    semantic = params.recipe_params({"corpus", "index"}) | {"language": analysis.language}
    recipe = Recipe(kind=KIND, step="index_lexical", version=VERSION, inputs={"corpus": corpus.id}, params=semantic)

    def build(folder: Path) -> dict[str, Any]:
        index = build_lexical(list(texts), list(texts.values()), analysis, params.k1, params.b)
        write_lexical(folder, index, params.k1, params.b)
        return {"documents": len(texts), "words": len(index.columns), "language": analysis.language}

    built = produce(store, recipe, build)
    return IndexLexicalResult(lexical=built.id, corpus=corpus.id, found=built.found, **built.facts)
