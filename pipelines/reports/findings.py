"""What a reader should not miss, most serious first; the state of the day follows from it."""

from collections import defaultdict
from collections.abc import Iterator

from pipelines.core.formats import count, plural, words
from pipelines.reports.report_data import Border, Facts, Finding
from pipelines.reports.sections.champion_status import seat_findings
from pipelines.reports.sections.drift import drift_findings

MOST_NAMES = 5
"""Names that a finding lists before it stops."""


def findings(facts: Facts) -> tuple[Finding, ...]:
    """Return every finding of `facts`, the ones that make the day incomplete first."""
    return (
        *(
            Finding("incomplete", f"{row.step} did not finish", row.message)
            for row in facts.refusals
        ),
        *_steps(facts),
        *_arithmetic(facts),
        *_deliveries(facts),
        *_floors(facts),
        *_refused(facts),
        *_misplaced(facts),
        *drift_findings(facts.drift),
        *seat_findings(facts.day, facts.model_set),
        *_priors(facts),
        *_notes(facts),
    )


def _refusals(facts: Facts) -> Iterator[Finding]:
    for row in facts.refusals:
        yield Finding("incomplete", f"{row.step} did not finish", row.message)


def _steps(facts: Facts) -> Iterator[Finding]:
    """Yield one finding per step and state, however many folders the step publishes."""
    unsound: dict[tuple[str, str], list[str]] = defaultdict(list)
    for step in facts.steps:
        if step.state != "published":
            unsound[step.name, step.state].append(f"{step.folder}: {step.evidence}")
    for (name, state), evidence in unsound.items():
        more = f"; and {plural(len(evidence) - 1, 'more folder')}" if evidence[1:] else ""
        yield Finding("incomplete", f"The result of {name} is {state}", evidence[0] + more)


def _arithmetic(facts: Facts) -> Iterator[Finding]:
    for border in facts.borders:
        if not border.adds_up:
            yield Finding(
                "incomplete",
                f"Rows of {words(border.feed)} from {border.source} do not add up",
                f"{count(border.received)} received, {count(border.loaded)} loaded, "
                f"{count(border.quarantined)} quarantined, {count(border.duplicates)} duplicates",
            )
    for crossing in facts.crossings:
        if not crossing.adds_up:
            out = " + ".join(f"{count(part.count)} {words(part.name)}" for part in crossing.parts)
            yield Finding(
                "incomplete",
                f"The counts from {crossing.border} do not add up",
                f"{count(crossing.received)} in, out {out}",
            )
    yield from _quarantine(facts)
    yield from _leads(facts)


def _quarantine(facts: Facts) -> Iterator[Finding]:
    """Compare the rows in quarantine with what the lake's manifests say was set aside."""
    for feed in sorted({border.feed for border in facts.borders}):
        said = sum(b.quarantined + b.duplicates for b in facts.borders if b.feed == feed)
        held = sum(row.rows for row in facts.set_aside if row.feed == feed)
        if said != held:
            yield Finding(
                "incomplete",
                f"The quarantine of {words(feed)} does not hold what was set aside",
                f"{count(said)} rows were set aside, {count(held)} are in quarantine",
            )


def _leads(facts: Facts) -> Iterator[Finding]:
    leads = facts.matching.leads
    if leads is None:
        return
    out = sum(leads.as_dict().values()) - leads.received
    if leads.received != out:
        yield Finding(
            "incomplete",
            "Leads do not add up",
            f"{count(leads.received)} received, {count(out)} accounted for",
        )
    landed = [border for border in facts.borders if border.feed == "leads"]
    received = sum(border.received for border in landed)
    if received != leads.received:
        yield Finding(
            "incomplete",
            "The matching and the lake count different leads",
            f"lake/leads: {count(received)} received; matches: {count(leads.received)}",
        )


def _deliveries(facts: Facts) -> Iterator[Finding]:
    """Compare what stands in the outbox with the matches."""
    matched = {row.institution_id: row.matches for row in facts.matching.institutions}
    delivered = {row.institution_id: row for row in facts.matching.deliveries}
    if missing := sorted(name for name, rows in matched.items() if rows and name not in delivered):
        yield Finding(
            "incomplete",
            f"{plural(len(missing), 'institution')} matched but not delivered to",
            f"no manifest in outbox/date={facts.day} for {', '.join(missing[:MOST_NAMES])}"
            + (", …" if missing[MOST_NAMES:] else ""),
        )
    for name, delivery in delivered.items():
        if delivery.held_back:
            yield Finding("act", f"The leads of {name} were held back", delivery.message)
        elif delivery.rows != matched.get(name, 0):
            yield Finding(
                "incomplete",
                f"The delivery to {name} is not what was matched",
                f"{count(matched.get(name, 0))} matches, {plural(delivery.rows, 'row')} delivered",
            )


def _floors(facts: Facts) -> Iterator[Finding]:
    """Yield the promises of leads that are out of reach, with the least that they must yield."""
    for floor in facts.matching.floors_short:
        yield Finding(
            "act",
            f"{plural(floor.promised, 'lead')} a day promised to {floor.whom}, {count(floor.kept)} "
            "within reach",
            f"the floor gave way by {count(floor.promised - floor.kept)}; no plan misses all "
            f"floors together by fewer than {count(facts.matching.least_shortfall)} "
            "(expectations/policy/limits.yml)",
        )


def _refused(facts: Facts) -> Iterator[Finding]:
    for border in facts.borders:
        if border.refused_files:
            yield Finding(
                "act",
                f"{plural(border.refused_files, 'file')} of {border.source} refused "
                f"({words(border.feed)})",
                _why(facts, border),
            )


def _misplaced(facts: Facts) -> Iterator[Finding]:
    for file in facts.landed_files:
        if file.is_refused:
            yield Finding("act", f"{file.path} was not taken in", file.what)


def _why(facts: Facts, border: Border) -> str:
    """Return the messages of the source's refused files; each begins with the file's path."""
    return " ".join(
        row.message
        for row in facts.set_aside
        if row.is_file and (row.feed, row.source) == (border.feed, border.source)
    )


def _priors(facts: Facts) -> Iterator[Finding]:
    for model in facts.model_set.models:
        if model.is_prior:
            yield Finding("note", f"The {words(model.name)} model is a stated prior", model.reason)


def _notes(facts: Facts) -> Iterator[Finding]:
    if late := [file for file in facts.landed_files if file.is_late]:
        yield Finding(
            "note",
            f"{plural(len(late), 'file')} came late: the rows count from this day on",
            "listed under In and out",
        )
    if facts.matching.silent_channels:
        names = ", ".join(facts.matching.silent_channels)
        many = plural(len(facts.matching.silent_channels), "channel")
        yield Finding("note", f"{many} brought leads in the 30 days before and none today", names)
    if facts.unknown_columns:
        sources = {(row.feed, row.source) for row in facts.unknown_columns}
        yield Finding(
            "note",
            f"{plural(len(sources), 'source')} sent columns that no contract knows",
            "listed under Quality",
        )
    for origin in facts.origins:
        if origin.kind == "simulate":
            yield Finding("note", f"The data is simulated: {origin.name}", "listed under Evidence")
        elif origin.invented:
            what = f"Imported data is partly invented: {origin.name}"
            yield Finding("note", what, "listed under Evidence")
