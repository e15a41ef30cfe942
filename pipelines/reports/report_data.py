"""The content of a day's report as plain values, rendered as a page and written as JSON."""

from dataclasses import dataclass, field
from datetime import date

from models.fairness_proxies import AttributeInference
from pipelines.core.evidence.publication_log import Head
from pipelines.core.evidence.sign_offs import SignOff
from pipelines.evaluation.drift.comparison import Drift
from pipelines.reports.sections.acquisition import Acquisition
from pipelines.reports.sections.businesses import Businesses
from pipelines.reports.sections.calibration import CalibrationGroup
from pipelines.reports.sections.catalogue import Catalogue
from pipelines.reports.sections.chains import Chains
from pipelines.reports.sections.conduct import Conduct
from pipelines.reports.sections.evidence import (
    DataSource,
    FailedStep,
    PolicyChanges,
    PublishedFolder,
)
from pipelines.reports.sections.fairness.treatment import Treatment
from pipelines.reports.sections.intake import (
    ExpectationResult,
    FeedIntake,
    LandedFile,
    QuarantinedRule,
    UnknownColumns,
)
from pipelines.reports.sections.matching import Matching
from pipelines.reports.sections.models import ModelSet
from pipelines.reports.sections.persons import Persons
from pipelines.reports.sections.reconciliation import MartCounts, ReconciliationPoint
from pipelines.reports.sections.settlement import Settlement
from pipelines.reports.verdict import Finding, Verdict, decide

ON_HOLD = "delivery_on_hold"
"""The finding of a day whose lead files wait for an officer's decision, or were refused."""


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
    catalogue: Catalogue = field(default_factory=Catalogue)
    acquisition: Acquisition = field(default_factory=Acquisition)
    businesses: Businesses = field(default_factory=Businesses)
    chains: Chains = field(default_factory=Chains)
    conduct: Conduct = field(default_factory=Conduct)
    settlement: Settlement = field(default_factory=Settlement)
    persons: Persons = field(default_factory=Persons)
    model_set: ModelSet = field(default_factory=ModelSet)
    calibration: tuple[CalibrationGroup, ...] = ()
    fairness: tuple[AttributeInference, ...] = ()
    """How well the features predict each protected attribute."""
    treatment: Treatment = field(default_factory=Treatment)
    drift: Drift = field(default_factory=Drift)
    data_sources: tuple[DataSource, ...] = ()
    policy_changes: PolicyChanges = field(default_factory=PolicyChanges)
    log: Head | None = None
    """The head of the publication log over the day's folders; None of an unfinished day."""
    sign_offs: tuple[SignOff, ...] = ()
    """The decisions on the day when this was written; later ones are on the page of all days."""
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Return the verdict of the day, which follows from its findings."""
        return decide(self.findings)

    @property
    def is_on_hold(self) -> bool:
        """Return whether the lead files wait for a decision, or were refused by one."""
        return any(finding.id == ON_HOLD for finding in self.findings)
