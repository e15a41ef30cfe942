"""The findings that follow from the content of a day's report; the verdict follows from them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date

from expectations import policy
from pipelines.core.formats import count, figure
from pipelines.core.translation import join, plural, text, words
from pipelines.evaluation.drift.comparison import Drift, Figure, Grouping, Topic
from pipelines.ingest.reading.restricting_names import find_meaning
from pipelines.reports.report_data import Report
from pipelines.reports.sections.drift import (
    current_value,
    group_label,
    measure_label,
    reference_value,
    select_beyond_threshold,
)
from pipelines.reports.sections.fairness.treatment import (
    LENDER_RULES,
    Treatment,
    describe_lender,
)
from pipelines.reports.sections.intake import FeedIntake
from pipelines.reports.sections.models import ModelSet
from pipelines.reports.sections.persons import persons_findings
from pipelines.reports.verdict import Finding, make_finding, name_places

MAX_NAMES = 5
"""Names that a finding lists."""
MAX_FIGURES = 3
"""Drift figures of one group that a finding lists."""

ORDER_FEEDS = frozenset({"suppressions"})
"""Feeds of orders: without one of their files people who objected may be in the lead files."""


def collect_findings(report: Report) -> tuple[Finding, ...]:
    """Return every finding that follows from the content of `report`."""
    return (
        *(make_finding("step_failed", row.message, where=row.step, step=row.step)
          for row in report.failed_steps),
        *_folders(report),
        *_reconciliation(report),
        *_deliveries(report),
        *_floors(report),
        *_fees(report),
        *_rejected_files(report),
        *_quarantined_leads(report),
        *_files_not_read(report),
        *drift_findings(report.drift),
        *champion_findings(report.day, report.model_set),
        *persons_findings(report.persons, report.day),
        *_priors(report),
        *treatment_findings(report.treatment),
        *_notes(report),
    )  # fmt: skip


def _folders(report: Report) -> Iterator[Finding]:
    """Yield one finding per step and state, even if the step publishes several folders."""
    by_state: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in report.steps:
        if row.state != "published":
            by_state[row.step, row.state].append(join([row.folder, row.evidence], ": "))
    for (step, state), evidence in by_state.items():
        others = [text("and {folders}", folders=plural(len(evidence) - 1, "more folder"))]
        yield make_finding(
            f"result_{state}",
            join([evidence[0], *others[: len(evidence) - 1]]),
            amount=len(evidence),
            where=step,
            step=step,
        )


def _reconciliation(report: Report) -> Iterator[Finding]:
    for row in report.intake:
        if not row.adds_up:
            yield make_finding(
                "rows_do_not_add_up",
                text(
                    "{received} received, {loaded} loaded, {quarantined} quarantined, "
                    "{duplicates} duplicates",
                    received=count(row.received),
                    loaded=count(row.loaded),
                    quarantined=count(row.quarantined),
                    duplicates=count(row.duplicates),
                ),
                where=f"{row.feed}/{row.source}",
                feed=words(row.feed),
                source=row.source,
            )
    for point in report.reconciliation:
        if not point.adds_up:
            out = join(
                (join([count(part.count), words(part.name)], " ") for part in point.parts), " + "
            )
            yield make_finding(
                "stages_do_not_add_up",
                text("{received} in, out {out}", received=count(point.received), out=out),
                where=words(point.name),
                point=words(point.name),
            )
    yield from _quarantine(report)
    yield from _leads(report)


def _quarantine(report: Report) -> Iterator[Finding]:
    """Compare the rows in quarantine with the counts of the lake's manifests."""
    for feed in sorted({row.feed for row in report.intake}):
        stated = sum(row.quarantined + row.duplicates for row in report.intake if row.feed == feed)
        stored = sum(row.rows for row in report.quarantine if row.feed == feed)
        if stated != stored:
            yield make_finding(
                "quarantine_incomplete",
                text(
                    "{stated} rows were quarantined by the lake's manifest, {stored} are in "
                    "quarantine",
                    stated=count(stated),
                    stored=count(stored),
                ),
                amount=abs(stated - stored),
                where=feed,
                feed=words(feed),
            )


def _leads(report: Report) -> Iterator[Finding]:
    leads = report.matching.leads
    if leads is None:
        return
    accounted_for = sum(leads.as_dict().values()) - leads.received
    if leads.received != accounted_for:
        yield make_finding(
            "leads_do_not_add_up",
            text(
                "{received} received, {accounted} accounted for",
                received=count(leads.received),
                accounted=count(accounted_for),
            ),
            amount=abs(leads.received - accounted_for),
        )
    received = sum(row.received for row in report.intake if row.feed == "leads")
    if received != leads.received:
        yield make_finding(
            "lead_counts_differ",
            text(
                "lake/leads: {received} received; matches: {matches}",
                received=count(received),
                matches=count(leads.received),
            ),
            amount=abs(leads.received - received),
        )


def _deliveries(report: Report) -> Iterator[Finding]:
    """Compare the outbox with the matches."""
    matched = {row.institution_id: row.matches for row in report.matching.institutions}
    delivered = {row.institution_id: row for row in report.matching.deliveries}
    if missing := sorted(name for name, rows in matched.items() if rows and name not in delivered):
        yield make_finding(
            "delivery_missing",
            text(
                "no manifest in {folder} for {institutions}",
                folder=f"outbox/date={report.day}",
                institutions=name_places(missing),
            ),
            amount=len(missing),
            where=name_places(missing),
            institutions=plural(len(missing), "institution"),
        )
    for name, delivery in delivered.items():
        if delivery.held_back:
            yield make_finding(
                "delivery_held_back",
                delivery.message,
                amount=delivery.held_back,
                where=name,
                institution=name,
            )
        elif delivery.rows != matched.get(name, 0):
            yield make_finding(
                "delivery_differs",
                text(
                    "{matches} matches, {rows} delivered",
                    matches=count(matched.get(name, 0)),
                    rows=plural(delivery.rows, "row"),
                ),
                amount=abs(delivery.rows - matched.get(name, 0)),
                where=name,
                institution=name,
            )


def _floors(report: Report) -> Iterator[Finding]:
    for floor in report.matching.infeasible_floors:
        yield make_finding(
            "floor_infeasible",
            text(
                "the floor was relaxed by {relaxed}; every plan misses all floors together by at "
                "least {missed} (expectations/policy/limits.yml)",
                relaxed=count(floor.promised - floor.attainable),
                missed=count(report.matching.min_floor_shortfall),
            ),
            amount=floor.promised - floor.attainable,
            where=floor.group,
            promised=plural(floor.promised, "lead"),
            group=floor.group,
            attainable=count(floor.attainable),
        )


def _fees(report: Report) -> Iterator[Finding]:
    day = report.matching.day_surplus
    if day is not None and day.fees_short > 0:
        yield make_finding(
            "fees_below_cost",
            text(
                "expected fees {fees}, leads {cost} {currency} (`fees_to_cost` in "
                "expectations/policy/guarantees.yml)",
                fees=count(round(day.adjusted_fees)),
                cost=count(round(day.cost_of_leads)),
                currency=policy.base_currency(),
            ),
            short=f"{count(round(day.fees_short))} {policy.base_currency()}",
        )


def _rejected_files(report: Report) -> Iterator[Finding]:
    for row in report.intake:
        if row.rejected_files:
            yield make_finding(
                "order_list_rejected" if row.feed in ORDER_FEEDS else "file_rejected",
                _reasons(report, row),
                amount=row.rejected_files,
                where=f"{row.feed}/{row.source}",
                files=plural(row.rejected_files, "file"),
                source=row.source,
                feed=words(row.feed),
            )


def _quarantined_leads(report: Report) -> Iterator[Finding]:
    """Yield one finding on the leads of which a row is in quarantine: none is lost in silence."""
    rows = {row.source: row.quarantined for row in report.intake if row.feed == "leads"}
    sources = {source: number for source, number in sorted(rows.items()) if number}
    if sources:
        listed = [f"{source}: {count(number)}" for source, number in sources.items()]
        yield make_finding(
            "leads_quarantined",
            ", ".join(listed),
            amount=sum(sources.values()),
            where=name_places(sources),
            leads=plural(sum(sources.values()), "row"),
        )


def _reasons(report: Report, intake: FeedIntake) -> str:
    """Return the messages of the source's rejected files; each begins with the file's path."""
    return " ".join(
        row.message
        for row in report.quarantine
        if row.is_file and (row.feed, row.source) == (intake.feed, intake.source)
    )


def _files_not_read(report: Report) -> Iterator[Finding]:
    """Yield the files that no feed counts; a file of a source is among its rejected ones."""
    counted = {f"{row.feed}/{row.source}" for row in report.intake if row.rejected_files}
    for file in report.landed_files:
        if file.is_rejected and "/".join(file.path.split("/")[:2]) not in counted:
            yield make_finding("file_not_read", file.note, where=file.path, path=file.path)


def drift_findings(drift: Drift) -> Iterator[Finding]:
    """Yield one finding for each topic and kind of group that drifts."""
    found: dict[tuple[Topic, Grouping], dict[str, list[Figure]]] = defaultdict(dict)
    for row in select_beyond_threshold(drift):
        if row.state == "drift":
            found[row.topic, row.grouping].setdefault(row.group, []).append(row)
    for (topic, grouping), groups in sorted(found.items()):
        evidence = [_drift_evidence(group, rows) for group, rows in groups.items()]
        yield make_finding(
            f"drift_{topic}",
            join(evidence, " | ", limit=MAX_NAMES),
            amount=len(groups),
            where=name_places(name for name in groups if name),
            groups=_groups(topic, grouping, len(groups)),
        )


def _groups(topic: Topic, grouping: Grouping, groups: int) -> str:
    if grouping == "all":
        return text("all institutions") if topic == "approval" else text("all channels")
    return plural(groups, grouping, "industries" if grouping == "industry" else None)


def _drift_evidence(group: str, rows: Sequence[Figure]) -> str:
    figures = join(map(_drift_figure, rows), limit=MAX_FIGURES)
    return join([group_label(rows[0]), figures], ": ") if group else figures


def _drift_figure(row: Figure) -> str:
    index = f" (PSI {figure(row.value)})" if row.statistic == "psi" else ""
    return text(
        "{measure} {current}, before {reference}{index}",
        measure=measure_label(row),
        current=current_value(row),
        reference=reference_value(row),
        index=index,
    )


def champion_findings(day: date, model_set: ModelSet) -> Iterator[Finding]:
    """Yield unscheduled training and rejected challengers of the set trained as of `day`."""
    if model_set.as_of != f"{day}":
        return
    if model_set.is_unscheduled:
        yield make_finding("training_unscheduled", model_set.trigger)
    for row in model_set.champions:
        if row.has_rejected_challenger:
            model = words(row.model)
            yield make_finding("challenger_rejected", row.reason, where=model, model=model)


def _priors(report: Report) -> Iterator[Finding]:
    for model in report.model_set.models:
        if model.is_prior:
            name = words(model.name)
            yield make_finding("model_is_prior", model.reason, where=name, model=name)


def treatment_findings(treatment: Treatment) -> Iterator[Finding]:
    """Yield the lenders that treat a group otherwise, one finding for each measure."""
    for measure, rule in LENDER_RULES.items():
        if rows := treatment.flagged(measure):
            lenders = {row.institution_id for row in rows}
            yield make_finding(
                rule,
                join(map(describe_lender, rows), limit=MAX_NAMES),
                amount=len(lenders),
                where=name_places(lenders),
            )


def _unknown_columns(report: Report) -> Iterator[Finding]:
    """Yield the unknown columns that restrict by their name, and the sources of any other."""
    restricting = {
        f"{row.feed}/{row.source}: {name}"
        for row in report.unknown_columns
        for name in row.columns
        if find_meaning(row.feed, name)
    }
    if restricting:
        yield make_finding(
            "unknown_columns_restrict",
            name_places(restricting),
            amount=len(restricting),
            where=name_places(place.partition(":")[0] for place in restricting),
        )
    if sources := {f"{row.feed}/{row.source}" for row in report.unknown_columns}:
        yield make_finding(
            "unknown_columns",
            text("listed under Quality"),
            amount=len(sources),
            where=name_places(sources),
            sources=plural(len(sources), "source"),
        )


def _notes(report: Report) -> Iterator[Finding]:
    if late := [file for file in report.landed_files if file.is_late]:
        yield make_finding(
            "late_files",
            text("listed under Reconciliation"),
            amount=len(late),
            where=name_places(file.path for file in late),
            files=plural(len(late), "file"),
        )
    if silent := report.matching.silent_channels:
        yield make_finding(
            "channel_silent",
            ", ".join(silent),
            amount=len(silent),
            where=name_places(silent),
            channels=plural(len(silent), "channel"),
        )
    yield from _unknown_columns(report)
    for source in report.data_sources:
        if source.kind == "simulate":
            yield make_finding("data_simulated", text("listed under Evidence"), name=source.name)
        elif source.invented:
            yield make_finding("data_invented", text("listed under Evidence"), name=source.name)
