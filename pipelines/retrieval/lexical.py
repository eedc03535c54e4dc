"""BM25 over documents in memory, by the code of the lexical stage: the baseline of evaluations, and a voter of pools."""

from collections.abc import Collection, Mapping

from pipelines.retrieval.run import Run, break_ties
from pipelines.retrieval.stages.lexical import analysis_for, build_lexical


def bm25_run(
    documents: Mapping[str, str],
    queries: Mapping[str, str],
    depth: int,
    left_out: Mapping[str, Collection[str]] | None = None,
    language: str = "auto",
) -> Run:
    """The `depth` best documents of each query by BM25, ties in the order of ids; those with score 0 are not retrieved.

    Args:
        documents: text by document id.
        queries: text by query id.
        depth: documents kept for each query.
        left_out: by query id, documents that it must not retrieve.
        language: of stop words and stemmer; `auto`: the language of most stop words in the documents, else English.
    """
    excluded, ids = left_out or {}, sorted(documents)
    texts = [documents[document] for document in ids]
    index = build_lexical(ids, texts, analysis_for(language, texts))
    return {query: break_ties(index.search(text).best(depth, excluded.get(query, ()))) for query, text in queries.items()}
