"""The findings of a day, most severe first; the state of the day follows from them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date

from pipelines.core.formats import count, figure, plural, words
from pipelines.evaluation.drift.comparison import Drift, Figure, Grouping, Topic
from pipelines.reports.report_data import Finding, Report
from pipelines.reports.sections.drift import (
    current_value,
    group_label,
    measure_label,
    reference_value,
    select_beyond_threshold,
)
from pipelines.reports.sections.intake import FeedIntake
from pipelines.reports.sections.models import ModelSet

MAX_NAMES = 5
"""Names that a finding lists."""
MAX_FIGURES = 3
"""Drift figures of one group that a finding lists."""

DRIFT_TITLES: dict[Topic, str] = {
    "leads": "The leads of {groups} have drifted",
    "scores": "The scores of {groups} have drifted",
    "volume": "The number of leads of {groups} has drifted",
    "cost": "The cost per lead of {groups} has drifted",
    "approval": "Approvals of {groups} differ from the predictions",
    "changed": "Many products have changed since the day before",
    "offer": "What open products offer has changed",
}
"""Topic of drift -> title of its finding."""


def collect_findings(report: Report) -> tuple[Finding, ...]:
    """Return every finding of `report`; severity `incomplete` comes first."""
    return (
        *(Finding("incomplete", f"{row.step} did not finish", row.message)
          for row in report.failed_steps),
        *_folders(report),
        *_reconciliation(report),
        *_deliveries(report),
        *_floors(report),
        *_rejected_files(report),
        *_files_not_read(report),
        *drift_findings(report.drift),
        *champion_findings(report.day, report.model_set),
        *_priors(report),
        *_notes(report),
    )  # fmt: skip


def _folders(report: Report) -> Iterator[Finding]:
    """Yield one finding per step and state, even if the step publishes several folders."""
    by_state: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in report.steps:
        if row.state != "published":
            by_state[row.step, row.state].append(f"{row.folder}: {row.evidence}")
    for (step, state), evidence in by_state.items():
        more = f"; and {plural(len(evidence) - 1, 'more folder')}" if evidence[1:] else ""
        yield Finding("incomplete", f"The result of {step} is {state}", evidence[0] + more)


def _reconciliation(report: Report) -> Iterator[Finding]:
    for row in report.intake:
        if not row.adds_up:
            yield Finding(
                "incomplete",
                f"Rows of {words(row.feed)} from {row.source} do not add up",
                f"{count(row.received)} received, {count(row.loaded)} loaded, "
                f"{count(row.quarantined)} quarantined, {count(row.duplicates)} duplicates",
            )
    for point in report.reconciliation:
        if not point.adds_up:
            out = " + ".join(f"{count(part.count)} {words(part.name)}" for part in point.parts)
            yield Finding(
                "incomplete",
                f"The counts from {point.name} do not add up",
                f"{count(point.received)} in, out {out}",
            )
    yield from _quarantine(report)
    yield from _leads(report)


def _quarantine(report: Report) -> Iterator[Finding]:
    """Compare the rows in quarantine with the counts of the lake's manifests."""
    for feed in sorted({row.feed for row in report.intake}):
        stated = sum(row.quarantined + row.duplicates for row in report.intake if row.feed == feed)
        stored = sum(row.rows for row in report.quarantine if row.feed == feed)
        if stated != stored:
            yield Finding(
                "incomplete",
                f"The quarantine of {words(feed)} is not complete",
                f"{count(stated)} rows were quarantined by the lake's manifest, "
                f"{count(stored)} are in quarantine",
            )


def _leads(report: Report) -> Iterator[Finding]:
    leads = report.matching.leads
    if leads is None:
        return
    accounted_for = sum(leads.as_dict().values()) - leads.received
    if leads.received != accounted_for:
        yield Finding(
            "incomplete",
            "Leads do not add up",
            f"{count(leads.received)} received, {count(accounted_for)} accounted for",
        )
    received = sum(row.received for row in report.intake if row.feed == "leads")
    if received != leads.received:
        yield Finding(
            "incomplete",
            "The matching and the lake count different leads",
            f"lake/leads: {count(received)} received; matches: {count(leads.received)}",
        )


def _deliveries(report: Report) -> Iterator[Finding]:
    """Compare the outbox with the matches."""
    matched = {row.institution_id: row.matches for row in report.matching.institutions}
    delivered = {row.institution_id: row for row in report.matching.deliveries}
    if missing := sorted(name for name, rows in matched.items() if rows and name not in delivered):
        yield Finding(
            "incomplete",
            f"{plural(len(missing), 'institution')} matched but not delivered to",
            f"no manifest in outbox/date={report.day} for {', '.join(missing[:MAX_NAMES])}"
            + (", …" if missing[MAX_NAMES:] else ""),
        )
    for name, delivery in delivered.items():
        if delivery.held_back:
            yield Finding("act", f"The leads of {name} were held back", delivery.message)
        elif delivery.rows != matched.get(name, 0):
            yield Finding(
                "incomplete",
                f"The delivery to {name} differs from its matches",
                f"{count(matched.get(name, 0))} matches, {plural(delivery.rows, 'row')} delivered",
            )


def _floors(report: Report) -> Iterator[Finding]:
    for floor in report.matching.infeasible_floors:
        yield Finding(
            "act",
            f"The floor of {plural(floor.promised, 'lead')} a day for {floor.group} is infeasible: "
            f"{count(floor.attainable)} can be matched",
            f"the floor was relaxed by {count(floor.promised - floor.attainable)}; every plan "
            f"misses all floors together by at least {count(report.matching.min_floor_shortfall)} "
            "(expectations/policy/limits.yml)",
        )


def _rejected_files(report: Report) -> Iterator[Finding]:
    for row in report.intake:
        if row.rejected_files:
            yield Finding(
                "act",
                f"{plural(row.rejected_files, 'file')} of {row.source} rejected "
                f"({words(row.feed)})",
                _reasons(report, row),
            )


def _reasons(report: Report, intake: FeedIntake) -> str:
    """Return the messages of the source's rejected files; each begins with the file's path."""
    return " ".join(
        row.message
        for row in report.quarantine
        if row.is_file and (row.feed, row.source) == (intake.feed, intake.source)
    )


def _files_not_read(report: Report) -> Iterator[Finding]:
    for file in report.landed_files:
        if file.is_rejected:
            yield Finding("act", f"{file.path} was not read", file.note)


def drift_findings(drift: Drift) -> Iterator[Finding]:
    """Yield one finding for each topic and kind of group that drifts."""
    found: dict[tuple[Topic, Grouping], dict[str, list[Figure]]] = defaultdict(dict)
    for row in select_beyond_threshold(drift):
        if row.state == "drift":
            found[row.topic, row.grouping].setdefault(row.group, []).append(row)
    for (topic, grouping), groups in sorted(found.items()):
        evidence = [_drift_evidence(group, rows) for group, rows in groups.items()]
        more = f"; and {len(evidence) - MAX_NAMES} more" if evidence[MAX_NAMES:] else ""
        yield Finding(
            "act",
            DRIFT_TITLES[topic].format(groups=_groups(topic, grouping, len(groups))),
            " | ".join(evidence[:MAX_NAMES]) + more,
        )


def _groups(topic: Topic, grouping: Grouping, groups: int) -> str:
    if grouping == "all":
        return "all institutions" if topic == "approval" else "all channels"
    return plural(groups, grouping, "industries" if grouping == "industry" else None)


def _drift_evidence(group: str, rows: Sequence[Figure]) -> str:
    figures = "; ".join(_drift_figure(row) for row in rows[:MAX_FIGURES])
    more = f" and {plural(len(rows) - MAX_FIGURES, 'more figure')}" if rows[MAX_FIGURES:] else ""
    return f"{group_label(rows[0])}: {figures}{more}" if group else f"{figures}{more}"


def _drift_figure(row: Figure) -> str:
    index = f" (PSI {figure(row.value)})" if row.statistic == "psi" else ""
    return f"{measure_label(row)} {current_value(row)}, before {reference_value(row)}{index}"


def champion_findings(day: date, model_set: ModelSet) -> Iterator[Finding]:
    """Yield unscheduled training and rejected challengers of the set trained as of `day`."""
    if model_set.as_of != f"{day}":
        return
    if model_set.is_unscheduled:
        title = "The models were trained before their week was over"
        yield Finding("note", title, model_set.trigger)
    for row in model_set.champions:
        if row.has_rejected_challenger:
            title = f"The challenger of the {words(row.model)} model was rejected"
            yield Finding("note", title, row.reason)


def _priors(report: Report) -> Iterator[Finding]:
    for model in report.model_set.models:
        if model.is_prior:
            title = f"The {words(model.name)} model is a stated prior"
            yield Finding("note", title, model.reason)


def _notes(report: Report) -> Iterator[Finding]:
    if late := [file for file in report.landed_files if file.is_late]:
        yield Finding(
            "note",
            f"{plural(len(late), 'file')} came late: the rows count from this day on",
            "listed under Reconciliation",
        )
    if silent := report.matching.silent_channels:
        title = f"{plural(len(silent), 'channel')} sent leads in the 30 days before and none today"
        yield Finding("note", title, ", ".join(silent))
    if report.unknown_columns:
        sources = {(row.feed, row.source) for row in report.unknown_columns}
        yield Finding(
            "note",
            f"{plural(len(sources), 'source')} sent columns that are not in the contract",
            "listed under Quality",
        )
    for source in report.data_sources:
        if source.kind == "simulate":
            yield Finding("note", f"The data is simulated: {source.name}", "listed under Evidence")
        elif source.invented:
            title = f"Imported data has invented columns: {source.name}"
            yield Finding("note", title, "listed under Evidence")
