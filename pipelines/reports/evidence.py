"""What a verdict's report shows of the evidence, a section for each kind."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from pipelines.errors import InputError
from pipelines.gates.evidence import Evidence
from pipelines.gates.exposure import exposure_comparison
from pipelines.gates.gate_file import GateFile, Rule
from pipelines.gates.segments import reference_name, segment_comparison
from pipelines.reports.frame import Section
from pipelines.reports.latency import latency_section
from pipelines.reports.off_policy import off_policy_section
from pipelines.reports.robustness import robustness_section
from pipelines.reports.segments import exposure_section, segment_section


def evidence_sections(gate_file: GateFile, evidence: Evidence) -> list[Section]:
    """The sections of the evidence that is of the judged release, and of what the rules on rankings ask for."""
    release, sections = evidence.evaluation.release, []
    if evidence.latency and evidence.latency.release == release:
        sections.append(latency_section(evidence.latency.summary, evidence.latency.blocks))
    if evidence.off_policy and evidence.off_policy.release == release:
        sections.append(off_policy_section(evidence.off_policy.summary))
    for make in _makers(gate_file, evidence):
        with suppress(InputError):  # the rule's own verdict says why
            sections.append(make())
    return sections


def _makers(gate_file: GateFile, evidence: Evidence) -> Iterator[Callable[[], Section]]:
    measured = {rule.measure: rule.level for rule in gate_file.rules if rule.comparison == "perturbed"}
    if evidence.robustness is not None:
        sides = evidence.robustness, evidence.champion_robustness
        yield from (partial(robustness_section, *sides, *measure) for measure in measured.items())
    for rule in gate_file.rules if evidence.evaluation.rows else ():
        if rule.comparison == "segments":
            yield partial(_segments, rule, evidence)
        elif rule.comparison == "exposure":
            yield partial(_exposure, rule, evidence)


def _segments(rule: Rule, evidence: Evidence) -> Section:
    return segment_section(segment_comparison(rule, evidence), rule.measure, rule.level, reference_name(evidence))


def _exposure(rule: Rule, evidence: Evidence) -> Section:
    return exposure_section(exposure_comparison(rule, evidence), reference_name(evidence))
