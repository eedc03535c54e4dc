"""verify_audit: an export of the journal is as `audit` wrote it; no store is needed."""

from pydantic import Field

from pipelines.contract import Params, Result
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
    from pipelines.store.audit import read_export_file

    entries, seal = read_export_file("--file", params.file, params.seal)
    sentence = f"{len(entries)} entries, each as it was exported" + (
        "" if params.seal else "; pass --seal to be sure of the file"
    )
    log().info(sentence)
    return VerifyAuditResult(entries=len(entries), seal=seal, sentence=sentence)
