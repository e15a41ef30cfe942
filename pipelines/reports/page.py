"""Render the facts of a day as one self-contained page. The same facts give the same bytes."""

from pathlib import Path

from expectations import policy
from pipelines.core.html import environment
from pipelines.reports.headline import WEIGHTS, Headline
from pipelines.reports.labels import DETAILS, FUNNEL
from pipelines.reports.report_data import Count, Facts
from pipelines.reports.sections.calibration import held, off
from pipelines.reports.sections.drift import before, compared, moved, named, now, of
from pipelines.reports.totals import COUNTS, feed_totals, rule_totals

TEMPLATES = Path(__file__).parent / "templates"
MOST_ROWS = 200
"""Longest list of single files on the page; `quality.json` has them all."""
FIRST_ROWS = 25
"""Institutions that are shown before the rest is folded away."""

SECTIONS = (
    ("leads", "Leads"),
    ("borders", "In and out"),
    ("quality", "Quality"),
    ("matches", "Matches"),
    ("prices", "Prices"),
    ("models", "Models"),
    ("champions", "Champions"),
    ("odds", "Odds"),
    ("fairness", "Fairness"),
    ("drift", "Drift"),
    ("evidence", "Evidence"),
    ("terms", "Words"),
)


def render(facts: Facts) -> str:
    """Return the page of `facts` as HTML."""
    page = environment(TEMPLATES).get_template("page.html")
    return page.render(
        facts=facts,
        matching=facts.matching,
        headline=Headline(facts),
        weights=WEIGHTS,
        sections=SECTIONS,
        counts=COUNTS,
        totals=feed_totals(facts.borders),
        refused=[row for row in facts.set_aside if row.is_file],
        rules=rule_totals(facts.set_aside),
        broken=[result for result in facts.expectations if result.unexpected],
        kept=[result for result in facts.expectations if not result.unexpected],
        served=[row for row in facts.matching.institutions if row.matches],
        delivery_of={row.institution_id: row for row in facts.matching.deliveries},
        currency=policy.base_currency(),
        most_offers=policy.value().most_offers_per_lead,
        details=DETAILS,
        funnel_words=FUNNEL,
        chosen=_chosen(facts),
        held=held(facts.odds),
        off=off(facts.odds),
        compared=compared(facts.drift),
        moved=moved(facts.drift),
        named=named,
        now=now,
        before=before,
        of=of,
        limit=MOST_ROWS,
        first=FIRST_ROWS,
    )


def _chosen(facts: Facts) -> tuple[Count, ...]:
    """Return the last line of the funnel, where the matching is published."""
    matches = facts.matching.matches
    return () if matches is None else (Count("chosen", matches),)
