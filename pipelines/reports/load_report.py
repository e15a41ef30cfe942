"""Load everything that was published for a day into one `Report`; parts may be missing."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from expectations import policy
from pipelines.core.database import connect
from pipelines.core.errors import BanyanError, InputMissing
from pipelines.core.evidence.publication_log import find_day_head
from pipelines.core.evidence.sign_offs import find_decision, read_sign_offs
from pipelines.core.home.schema_version import read_replay
from pipelines.core.settings import Settings
from pipelines.core.translation import words
from pipelines.evaluation.drift import Drift, measure_drift
from pipelines.reports.findings import collect_findings
from pipelines.reports.losses import SEARCHES, Search
from pipelines.reports.report_data import ON_HOLD, Report
from pipelines.reports.sections import acquisition, catalogue, evidence, intake, matching, models
from pipelines.reports.sections.businesses import Businesses, load_businesses
from pipelines.reports.sections.calibration import load_calibration
from pipelines.reports.sections.chains import Chains, load_chains
from pipelines.reports.sections.conduct import READERS, Conduct
from pipelines.reports.sections.fairness.proxies import measure_proxies
from pipelines.reports.sections.fairness.treatment import Treatment, measure_treatment
from pipelines.reports.sections.persons import Persons, load_persons
from pipelines.reports.sections.reconciliation import load_mart_counts, reconcile
from pipelines.reports.sections.settlement import Settlement, load_settlement
from pipelines.reports.stage_findings import collect_stage_findings
from pipelines.reports.verdict import Finding, decide, make_finding, sort_findings

Part = TypeVar("Part")

MISSING = "delivery_missing"
"""The finding of institutions without a lead file."""
NOT_PUBLISHED = (InputMissing, FileNotFoundError, duckdb.IOException)
UNREADABLE = (
    *(BanyanError, OSError, ValueError, LookupError, TypeError, AttributeError),
    *(duckdb.Error, pa.ArrowException, json.JSONDecodeError),
)
"""Errors that a part can raise if its step failed, was killed or never ran."""


@dataclass
class PartLoader:
    """Loads the parts of a report; a part that cannot be read becomes a finding."""

    findings: list[Finding] = field(default_factory=list)

    def load(self, name: str, read: Callable[[], Part], default: Part) -> Part:
        """Return what `read` returns; if it fails, `default`, with a finding.

        A part that is not published needs no finding: the state of its folder is one. The
        evidence names only the kind of error: its text may quote a row.

        Raises:
            duckdb.OutOfMemoryException: The memory did not suffice; nothing is wrong with the part.
        """
        try:
            return read()
        except NOT_PUBLISHED:
            return default
        except duckdb.OutOfMemoryException:
            raise
        except UNREADABLE as error:
            self.findings.append(
                make_finding("part_unreadable", type(error).__name__, part=words(name))
            )
            return default


def load_report(settings: Settings, day: date) -> Report:
    """Return the report of `day`; each part that cannot be read is among the findings."""
    parts = PartLoader()
    load = parts.load
    report = Report(
        day=day,
        failed_steps=load("failed steps", lambda: evidence.load_failed_steps(settings, day), ()),
        steps=evidence.check_folders(settings, day),
        intake=load("intake counts", lambda: intake.load_intake(settings, day), ()),
        quarantine=load("quarantine", lambda: intake.load_quarantine(settings, day), ()),
        landed_files=load("list of files", lambda: intake.load_landed_files(settings, day), ()),
        expectations=load("expectations", lambda: intake.load_expectations(settings, day), ()),
        unknown_columns=load(
            "unknown columns", lambda: intake.load_unknown_columns(settings, day), ()
        ),
        marts=load("counts of the marts", lambda: load_mart_counts(settings, day), None),
        matching=_load_matching(settings, day, parts),
        catalogue=_load_catalogue(settings, day, parts),
        acquisition=_load_acquisition(settings, day, parts),
        businesses=_load_businesses(settings, day, parts),
        chains=_load_chains(settings, day, parts),
        conduct=_load_conduct(settings, day, parts),
        settlement=load("settlement", lambda: load_settlement(settings, day), Settlement()),
        persons=load("persons and retention", lambda: load_persons(settings, day), Persons()),
        model_set=load(
            "model set", lambda: models.load_model_set(settings, day), models.ModelSet()
        ),
        calibration=load("calibration ledger", lambda: load_calibration(settings, day), ()),
        fairness=load("fairness figures", lambda: measure_proxies(settings, day), ()),
        treatment=load(
            "treatment of groups", lambda: measure_treatment(settings, day), Treatment()
        ),
        drift=load("drift figures", lambda: measure_drift(settings, day), Drift()),
        data_sources=load("data sources", lambda: evidence.load_data_sources(settings, day), ()),
        policy_changes=load(
            "changes of the policies",
            lambda: evidence.load_policy_changes(settings, day),
            evidence.PolicyChanges(),
        ),
        log=load("publication log", lambda: find_day_head(settings, day), None),
        sign_offs=load("decisions", lambda: read_sign_offs(settings, day), ()),
    )
    points = reconcile(report.intake, report.marts, report.matching)
    report = replace(report, reconciliation=points)
    losses = _find_losses(settings, day, parts)
    findings = (
        *parts.findings,
        *losses,  # before the others of the same importance: they say what is not there
        *collect_findings(report),
        *collect_stage_findings(settings, day),
    )
    findings = parts.load("hold", lambda: _hold_missing(settings, report, findings), findings)
    return replace(report, findings=sort_findings(findings))


def _hold_missing(
    settings: Settings, report: Report, findings: tuple[Finding, ...]
) -> tuple[Finding, ...]:
    """Return `findings`; lead files that are missing because they are on hold are no loss.

    So the verdict of a day before its delivery is that of its matches.
    """
    mode = policy.sign_off().hold
    others = [finding for finding in findings if finding.id != MISSING]
    missing = [finding for finding in findings if finding.id == MISSING]
    is_held = mode == "always" or (mode == "on_not_fit" and decide(others).name == "not_fit")
    if not missing or not is_held or read_replay(settings):
        return findings
    decision = find_decision(settings, report.day)
    if decision is not None and decision.decision != "not_fit":
        return findings
    return (*others, *(make_finding(ON_HOLD, amount=each.amount) for each in missing))


def _find_losses(settings: Settings, day: date, parts: PartLoader) -> list[Finding]:
    """Return the losses that can be looked for; a step that isn't done is a finding of its own."""

    def list_found(search: Search) -> list[Finding]:
        return list(search(settings, day, connection))

    losses: list[Finding] = []
    with connect(settings) as connection:
        for name, search in SEARCHES.items():
            nothing: list[Finding] = []
            losses += parts.load(name, partial(list_found, search), nothing)
    return losses


def _load_catalogue(settings: Settings, day: date, parts: PartLoader) -> catalogue.Catalogue:
    load = parts.load
    with connect(settings) as connection:
        where = (settings, day, connection)
        return catalogue.Catalogue(
            compared_with=load(
                "earlier catalogue", lambda: catalogue.find_compared_day(settings, day), None
            ),
            changes=load("changed catalogue", lambda: catalogue.load_changes(*where), ()),
            without_leads=load(
                "products without leads",
                lambda: catalogue.load_products_without_leads(*where),
                (),
            ),
        )


def _load_acquisition(settings: Settings, day: date, parts: PartLoader) -> acquisition.Acquisition:
    with connect(settings) as connection:
        return parts.load(
            "acquisition cost",
            lambda: acquisition.load_acquisition(settings, day, connection),
            acquisition.Acquisition(),
        )


def _load_businesses(settings: Settings, day: date, parts: PartLoader) -> Businesses:
    with connect(settings) as connection:
        return parts.load(
            "businesses", lambda: load_businesses(settings, day, connection), Businesses()
        )


def _load_chains(settings: Settings, day: date, parts: PartLoader) -> Chains:
    with connect(settings) as connection:
        return parts.load("supply chains", lambda: load_chains(settings, day, connection), Chains())


def _load_conduct(settings: Settings, day: date, parts: PartLoader) -> Conduct:
    nothing = Conduct()
    with connect(settings) as connection:
        loaded = {
            field: parts.load(
                name, partial(read, settings, day, connection), getattr(nothing, field)
            )
            for field, (name, read) in READERS.items()
        }
    return Conduct(**loaded)


def _load_matching(settings: Settings, day: date, parts: PartLoader) -> matching.Matching:
    nothing: dict[str, Any] = {}
    load = parts.load
    with connect(settings) as connection:
        where = (settings, day, connection)
        return matching.Matching(
            **load("lead counts", lambda: matching.load_summary(settings, day), nothing),
            **load("pairs", lambda: matching.load_pairs(*where), nothing),
            explored_new_products=load(
                "exploration", lambda: matching.count_explored_new_products(*where), None
            ),
            stages=load("unmatched leads", lambda: matching.load_stages(*where), ()),
            institutions=load(
                "matches by institution", lambda: matching.load_institutions(*where), ()
            ),
            channels=load("matches by channel", lambda: matching.load_channels(*where), ()),
            silent_channels=load(
                "silent channels", lambda: matching.load_silent_channels(*where), ()
            ),
            prices=load("shadow prices", lambda: matching.load_prices(settings, day), ()),
            deliveries=load("deliveries", lambda: matching.load_deliveries(settings, day), ()),
        )
