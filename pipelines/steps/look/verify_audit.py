"""verify_audit: an export of the journal is as `audit` wrote it; no store is needed."""

from pathlib import Path

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log

VERSION = 1


class VerifyAuditParams(Params):
    file: str = Field(description="File that `audit` wrote")
    seal: str = Field("", description="Seal that `audit` told when it was exported; without it a file sealed anew is not found")


class VerifyAuditResult(Result):
    entries: int
    seal: str
    sentence: str


def verify_audit(params: VerifyAuditParams) -> VerifyAuditResult:
    """Find a line of an export that was altered, added or removed."""
    from pipelines.store.audit import read_export, seal_of

    try:
        text = Path(params.file).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"--file {params.file}", f"a file that `audit` wrote ({error})", "correct the path") from None
    entries, seal = read_export(text, params.file), seal_of(text)
    if params.seal and params.seal != seal:
        raise InputError(
            f"{params.file} with the seal {seal}",
            f"--seal {params.seal}",
            "ask for the file as it was exported",
        )
    sentence = f"{len(entries)} entries, each as it was exported" + (
        "" if params.seal else "; pass --seal to be sure of the file"
    )
    log().info(sentence)
    return VerifyAuditResult(entries=len(entries), seal=seal, sentence=sentence)
