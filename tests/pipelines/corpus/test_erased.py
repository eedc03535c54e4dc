"""A corpus without what was erased: how often its files are read."""

import json
from pathlib import Path

from pipelines.corpus.erased import leave_out


def test_titles_are_read_once_for_all_histories(tmp_path, monkeypatch):
    names = [f"d{number}" for number in range(60)]
    documents = [{"id": name, "text": f"text of {name}", "title": f"Title {name}"} for name in names]
    histories = [[name, "d0", "d1"] for name in names[2:52]]
    queries = [
        {"id": f"u{number}", "text": "Title", "split": "test", "history": history} for number, history in enumerate(histories)
    ]
    for name, rows in (("documents", documents), ("queries", queries)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "qrels.txt").write_text("".join(f"u{number} 0 d59 1\n" for number in range(50)))
    opened = []
    opens = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *args, **kw: opened.append(path.name) or opens(path, *args, **kw))
    changed, counts = leave_out(tmp_path, lambda kind, subject: (kind, subject) == ("document", "d1"))
    assert (changed, counts) == (51, {"documents": 59, "queries": 50, "judgments": 50})
    assert opened.count("documents.jsonl") <= 2
    left = [json.loads(line) for line in (tmp_path / "queries.jsonl").read_text().splitlines()]
    assert [(row["history"], row["text"]) for row in left] == [
        ([name, "d0"], f"Title {name} · Title d0") for name in names[2:52]
    ]
