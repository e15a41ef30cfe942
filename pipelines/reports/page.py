"""Render the report of a day as one self-contained page. The same report gives the same bytes."""

from datetime import date, timedelta
from typing import Any

from expectations import policy
from pipelines.core.evidence.sign_offs import LABELS
from pipelines.core.translation import text
from pipelines.matches.stage_labels import DETAILS, FUNNEL
from pipelines.reports.headline import SEVERITIES, Headline
from pipelines.reports.languages import STEM, render_each
from pipelines.reports.overview.period_pages import name_period
from pipelines.reports.report_data import Report
from pipelines.reports.sections import drift
from pipelines.reports.sections.businesses import CONSENT_ROLES, CONTRADICTIONS
from pipelines.reports.sections.calibration import select_miscalibrated, select_short_groupings
from pipelines.reports.sections.conduct.consent import NOTICE_DAYS, STATES
from pipelines.reports.sections.fairness.treatment import MEASURES
from pipelines.reports.sections.intake import COUNTS, feed_totals, rule_totals
from pipelines.reports.sections.matching import Count

MAX_ROWS = 200
"""Longest list of single files on the page; `quality.json` has them all."""
SOON_DAYS = 30
"""Days in which an admission that ends is marked."""
FIRST_ROWS = 25
"""Institutions that are shown before the others are collapsed."""

SECTIONS = (
    ("leads", text("Leads")),
    ("reconciliation", text("Reconciliation")),
    ("quality", text("Quality")),
    ("matches", text("Matches")),
    ("deliveries", text("Deliveries")),
    ("conduct", text("Conduct")),
    ("fairness", text("Fairness")),
    ("catalogue", text("Catalogue")),
    ("acquisition", text("Acquisition cost")),
    ("businesses", text("Businesses")),
    ("chains", text("Supply chains")),
    ("prices", text("Shadow prices")),
    ("models", text("Models")),
    ("champions", text("Champions")),
    ("calibration", text("Calibration")),
    ("drift", text("Drift")),
    ("persons", text("Persons")),
    ("evidence", text("Evidence")),
    ("sign_off", text("Sign-off")),
    ("glossary", text("Glossary")),
)
"""Section of the page -> its name; each is a template of the same name."""


def render(report: Report, day_before: date | None = None) -> dict[str, str]:
    """Return the page of `report` in each language: file name -> HTML.

    Args:
        report: Its content.
        day_before: The last date before it that was matched, to which the page leads.
    """
    values: dict[str, Any] = {
        "day_before": f"{day_before}" if day_before else None,
        "week": name_period("weeks", report.day),
        "month": name_period("months", report.day),
        "report": report,
        "matching": report.matching,
        "headline": Headline(report),
        "severities": SEVERITIES,
        "sections": SECTIONS,
        "counts": tuple(COUNTS),
        "count_headings": tuple(COUNTS.values()),
        "totals": feed_totals(report.intake),
        "rejected": [row for row in report.quarantine if row.is_file],
        "rules": rule_totals(report.quarantine),
        "failed": [row for row in report.expectations if row.unexpected],
        "passed": [row for row in report.expectations if not row.unexpected],
        "served": [row for row in report.matching.institutions if row.matches],
        "delivery_of": {row.institution_id: row for row in report.matching.deliveries},
        "currency": policy.base_currency(),
        "max_offers": policy.value().max_offers_per_lead,
        "details": DETAILS,
        "funnel": _funnel(report),
        "funnel_labels": FUNNEL,
        "calibration": select_short_groupings(report.calibration),
        "miscalibrated": select_miscalibrated(report.calibration),
        "topics": drift.summarize_topics(report.drift),
        "beyond": drift.select_beyond_threshold(report.drift),
        "drift_labels": drift,
        "decisions": LABELS,
        "measure_names": MEASURES,
        "consent_states": STATES,
        "notice_days": NOTICE_DAYS,
        "soon": report.day + timedelta(days=SOON_DAYS),
        "fairness_policy": policy.fairness(),
        "contradictions": CONTRADICTIONS,
        "consent_roles": CONSENT_ROLES,
        "limit": MAX_ROWS,
        "first": FIRST_ROWS,
    }
    return dict(render_each("page.html", STEM, values))


def _funnel(report: Report) -> tuple[Count, ...]:
    """Return the funnel of pairs, with the matches as its last step if they are published."""
    matches = report.matching.matches
    last = () if matches is None else (Count("chosen", matches),)
    return report.matching.funnel + last if report.matching.funnel else ()
