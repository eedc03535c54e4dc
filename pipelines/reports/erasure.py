"""The certificate of an erasure as a page: what was searched, what was found and what is left."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.reports.frame import Report, ReportTable, write_report

if TYPE_CHECKING:
    from pipelines.erasure.procedure import Certificate


def write_certificate(folder: Path, certificate: "Certificate") -> None:
    """Write `report.html` and `report.json`."""
    write_report(folder, certificate_report(certificate))


def certificate_report(certificate: "Certificate") -> Report:
    """The certificate: a table of all places, the artifacts that are gone, and what was not searched."""
    kind, _, name = certificate.subject.partition(":")
    found = sum(bool(names) for names in certificate.found.values())
    left = sum(certificate.left.values())
    sentence = f"a {kind} was found in {found} of {len(certificate.found)} places" + (
        f" and is in {'none' if not left else f'{left} entries that are never changed'} of them now"
        if certificate.state == "erased"
        else "; nothing is certified yet"
    )
    told = f"{certificate.ordinary} of its names and texts are words of others or numbers: these were looked for as ids only."
    ordinary = [told] if certificate.ordinary else []
    columns: list[tuple[str, Any]] = [("place", "text"), ("found", "count"), ("left", "count"), ("which", "text")]
    rows = [
        [place, len(names), certificate.left.get(place, len(names)), ", ".join(names[:20])]
        for place, names in sorted(certificate.found.items(), key=lambda row: (-len(row[1]), row[0]))
    ]
    places = ReportTable("Places", columns, rows, "Found is all that was ever found since the erasure was asked for.")
    return Report(
        "erasure",
        f"erasure of entry {certificate.entry}",
        certificate.state,
        sentence,
        tables=[places],
        warnings=[*ordinary, *(f"Not searched: {place}." for place in certificate.not_searched)],
        method=[
            f"Asked for by {certificate.asked_by} at {certificate.asked_at}: {certificate.why}",
            f"The {kind} is known here by a salted hash alone ({name}); who knows the id can compute it again.",
            f"{len(certificate.retired)} artifacts are gone: {', '.join(certificate.retired) or 'none'}.",
        ],
        provenance={"entry": str(certificate.entry), "subject": certificate.subject},
    )
