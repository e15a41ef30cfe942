"""The content of a day's report as plain values, rendered as a page and written as JSON."""

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from models.fairness_proxies import AttributeInference
from pipelines.evaluation.drift.comparison import Drift
from pipelines.reports.sections.calibration import CalibrationGroup
from pipelines.reports.sections.evidence import DataSource, FailedStep, PublishedFolder
from pipelines.reports.sections.intake import (
    ExpectationResult,
    FeedIntake,
    LandedFile,
    QuarantinedRule,
    UnknownColumns,
)
from pipelines.reports.sections.matching import Matching
from pipelines.reports.sections.models import ModelSet
from pipelines.reports.sections.reconciliation import MartCounts, ReconciliationPoint

State = Literal["complete", "findings", "incomplete"]
"""`complete`: every step published and nothing to check; `findings`: every step published and
something to check; `incomplete`: a step missing, stale or not reconciled."""

Severity = Literal["incomplete", "act", "note"]
"""`incomplete`: the finding makes the day incomplete; `act`: somebody must act; `note`: for
information."""


@dataclass(frozen=True)
class Finding:
    """One sentence that a reader should not miss, with its evidence."""

    severity: Severity
    title: str
    evidence: str


@dataclass(frozen=True)
class Report:
    """The content of the report of one business date."""

    day: date
    failed_steps: tuple[FailedStep, ...] = ()
    steps: tuple[PublishedFolder, ...] = ()
    intake: tuple[FeedIntake, ...] = ()
    quarantine: tuple[QuarantinedRule, ...] = ()
    landed_files: tuple[LandedFile, ...] = ()
    expectations: tuple[ExpectationResult, ...] = ()
    unknown_columns: tuple[UnknownColumns, ...] = ()
    marts: MartCounts | None = None
    reconciliation: tuple[ReconciliationPoint, ...] = ()
    matching: Matching = field(default_factory=Matching)
    model_set: ModelSet = field(default_factory=ModelSet)
    calibration: tuple[CalibrationGroup, ...] = ()
    fairness: tuple[AttributeInference, ...] = ()
    """How well the features predict each protected attribute."""
    drift: Drift = field(default_factory=Drift)
    data_sources: tuple[DataSource, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def state(self) -> State:
        """Return the state of the day, which follows from its most severe finding."""
        severities = {finding.severity for finding in self.findings}
        if "incomplete" in severities:
            return "incomplete"
        return "findings" if "act" in severities else "complete"
