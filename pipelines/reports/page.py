"""Render the report of a day as one self-contained page. The same report gives the same bytes."""

from datetime import timedelta
from pathlib import Path

from expectations import policy
from pipelines.core.evidence.sign_offs import LABELS
from pipelines.core.rendering.html import environment
from pipelines.matches.stage_labels import DETAILS, FUNNEL
from pipelines.reports.headline import SEVERITIES, Headline
from pipelines.reports.report_data import Report
from pipelines.reports.sections import drift
from pipelines.reports.sections.calibration import select_miscalibrated, select_short_groupings
from pipelines.reports.sections.conduct.consent import NOTICE_DAYS, STATES
from pipelines.reports.sections.fairness.treatment import MEASURES
from pipelines.reports.sections.intake import COUNTS, feed_totals, rule_totals
from pipelines.reports.sections.matching import Count

TEMPLATES = Path(__file__).parent / "templates"
MAX_ROWS = 200
"""Longest list of single files on the page; `quality.json` has them all."""
SOON_DAYS = 30
"""Days in which an admission that ends is marked."""
FIRST_ROWS = 25
"""Institutions that are shown before the others are collapsed."""

SECTIONS = (
    ("leads", "Leads"),
    ("reconciliation", "Reconciliation"),
    ("quality", "Quality"),
    ("matches", "Matches"),
    ("deliveries", "Deliveries"),
    ("conduct", "Conduct"),
    ("fairness", "Fairness"),
    ("catalogue", "Catalogue"),
    ("acquisition", "Acquisition cost"),
    ("chains", "Supply chains"),
    ("prices", "Shadow prices"),
    ("models", "Models"),
    ("champions", "Champions"),
    ("calibration", "Calibration"),
    ("drift", "Drift"),
    ("persons", "Persons"),
    ("evidence", "Evidence"),
    ("sign_off", "Sign-off"),
    ("glossary", "Glossary"),
)
"""Section of the page -> its name; each is a template of the same name."""


def render(report: Report) -> str:
    """Return the page of `report` as HTML."""
    page = environment(TEMPLATES).get_template("page.html")
    return page.render(
        report=report,
        matching=report.matching,
        headline=Headline(report),
        severities=SEVERITIES,
        sections=SECTIONS,
        counts=tuple(COUNTS),
        count_columns=[(heading, "n") for heading in COUNTS.values()],
        totals=feed_totals(report.intake),
        rejected=[row for row in report.quarantine if row.is_file],
        rules=rule_totals(report.quarantine),
        failed=[row for row in report.expectations if row.unexpected],
        passed=[row for row in report.expectations if not row.unexpected],
        served=[row for row in report.matching.institutions if row.matches],
        delivery_of={row.institution_id: row for row in report.matching.deliveries},
        currency=policy.base_currency(),
        max_offers=policy.value().max_offers_per_lead,
        details=DETAILS,
        funnel=_funnel(report),
        funnel_labels=FUNNEL,
        calibration=select_short_groupings(report.calibration),
        miscalibrated=select_miscalibrated(report.calibration),
        topics=drift.summarize_topics(report.drift),
        beyond=drift.select_beyond_threshold(report.drift),
        drift_labels=drift,
        decisions=LABELS,
        measure_names=MEASURES,
        consent_states=STATES,
        notice_days=NOTICE_DAYS,
        soon=report.day + timedelta(days=SOON_DAYS),
        fairness_policy=policy.fairness(),
        limit=MAX_ROWS,
        first=FIRST_ROWS,
    )


def _funnel(report: Report) -> tuple[Count, ...]:
    """Return the funnel of pairs, with the matches as its last step if they are published."""
    matches = report.matching.matches
    last = () if matches is None else (Count("chosen", matches),)
    return report.matching.funnel + last if report.matching.funnel else ()
