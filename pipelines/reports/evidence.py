"""What a verdict's report shows of the evidence that is not a ranking, a section for each kind."""

from typing import TYPE_CHECKING

from pipelines.reports.frame import Section
from pipelines.reports.latency import latency_section
from pipelines.reports.off_policy import off_policy_section

if TYPE_CHECKING:
    from pipelines.gates.evidence import Evidence


def sections_of(evidence: "Evidence") -> list[Section]:
    """The sections of the evidence that is of the judged release."""
    release, sections = evidence.evaluation.release, []
    if evidence.latency and evidence.latency.release == release:
        sections.append(latency_section(evidence.latency.summary, evidence.latency.blocks))
    if evidence.off_policy and evidence.off_policy.release == release:
        sections.append(off_policy_section(evidence.off_policy.summary))
    return sections
