"""propose: a suite of proposed checks from the profile of a corpus, for people to review."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store

VERSION = 1


class ProposeParams(Params):
    corpus: str = Field(description="Corpus id")
    suite: str = Field(description="File to write the proposals to, such as suite.yaml")
    overwrite: bool = Field(False, description="Replace the file, with all that was reviewed in it")


class ProposeResult(Result):
    suite: str
    corpus: str
    proposed: int
    sentence: str


def propose(params: ProposeParams) -> ProposeResult:
    """Profile a corpus and write the checks that it suggests; none counts before somebody has reviewed it."""
    from pipelines.quality.examination import stage
    from pipelines.quality.profile import proposed_suite
    from pipelines.quality.suite import parse_suite
    from pipelines.wording import counted

    target = Path(params.suite)
    if target.exists() and not params.overwrite:
        raise _file_exists(target)
    corpus = load(open_store(), "corpus", params.corpus)
    with tempfile.TemporaryDirectory(prefix="ratchet-propose-") as folder:
        staged = stage(Path(folder) / "staging.db", datetime.now(UTC).date(), corpus)
        text, count = proposed_suite(staged.db, corpus.id)
        staged.close()
    parse_suite(text.encode(), params.suite)
    _write_file(target, text, params.overwrite)
    sentence = f"{counted(count, 'check')} proposed in {params.suite}; none counts before it is reviewed"
    log().info(sentence, corpus=corpus.id)
    return ProposeResult(suite=params.suite, corpus=corpus.id, proposed=count, sentence=sentence)


def _write_file(target: Path, text: str, overwrite: bool) -> None:
    """Write the whole file or nothing; a file that another process has written meanwhile stays, unless `overwrite`."""
    with tempfile.NamedTemporaryFile("w", dir=target.parent, encoding="utf-8", delete=False) as part:
        part.write(text)
    try:
        Path(part.name).chmod(0o644)
        if overwrite:
            Path(part.name).replace(target)
        else:
            target.hardlink_to(part.name)
    except FileExistsError:
        raise _file_exists(target) from None
    finally:
        Path(part.name).unlink(missing_ok=True)


def _file_exists(target: Path) -> InputError:
    return InputError(
        f"--suite {target}, which is there",
        "a file that is not there yet",
        "name another, or pass --overwrite true to lose what was reviewed in it",
    )
