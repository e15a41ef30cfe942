"""Gather what was published for a day into one `Facts`, whatever is missing."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from pipelines.core.database import connect
from pipelines.core.errors import BanyanError, InputMissing
from pipelines.core.formats import without_personal
from pipelines.core.settings import Settings
from pipelines.core.step_failures import read_step_failures
from pipelines.evaluation.drift import Drift, drift
from pipelines.reports.findings import findings
from pipelines.reports.report_data import Facts, Finding, Matching, ModelSet, Refusal
from pipelines.reports.sections import fairness, intake_counts, matching, models
from pipelines.reports.sections.calibration import odds_given
from pipelines.reports.sections.champion_status import seated
from pipelines.reports.sections.deliveries import deliveries
from pipelines.reports.sections.provenance import origins_of
from pipelines.reports.sections.reconciliation import crossings, marts
from pipelines.reports.sections.steps import steps

Part = TypeVar("Part")

NOT_THERE = (InputMissing, FileNotFoundError, duckdb.IOException)
UNREADABLE = (
    *(BanyanError, OSError, ValueError, LookupError, TypeError, AttributeError),
    *(duckdb.Error, pa.ArrowException, json.JSONDecodeError),
)
"""What a part of the page may meet where a step failed, was killed or never ran."""


@dataclass
class Gathering:
    """Collects the parts, and a gap for each that cannot be read."""

    gaps: list[Finding] = field(default_factory=list)

    def part(self, name: str, read: Callable[[], Part], otherwise: Part) -> Part:
        """Return what `read` returns; where it cannot, note the gap and return `otherwise`.

        What isn't there needs no note: `steps` says which step has not published it. The gap
        names the kind of error only: its text may quote what a row holds.
        """
        try:
            return read()
        except NOT_THERE:
            return otherwise
        except UNREADABLE as error:
            self.gaps.append(
                Finding(
                    "incomplete", f"The {name} of this day cannot be read", type(error).__name__
                )
            )
            return otherwise


def gather(settings: Settings, day: date) -> Facts:
    """Return all facts of `day` that can be read; what cannot is among the findings."""
    to = Gathering()
    facts = Facts(
        day=day,
        refusals=to.part("list of refusals", lambda: _refusals(settings, day), ()),
        steps=steps(settings, day),
        borders=to.part("counts of the feeds", lambda: intake_counts.borders(settings, day), ()),
        set_aside=to.part("quarantine", lambda: intake_counts.set_aside(settings, day), ()),
        landed_files=to.part(
            "list of files", lambda: intake_counts.landed_files(settings, day), ()
        ),
        expectations=to.part(
            "quality results", lambda: intake_counts.expectations(settings, day), ()
        ),
        unknown_columns=to.part(
            "list of unknown columns", lambda: intake_counts.unknown_columns(settings, day), ()
        ),
        marts=to.part("counts of the marts", lambda: marts(settings, day), None),
        matching=_matching(settings, day, to),
        model_set=to.part(
            "model set", lambda: seated(settings, models.model_set(settings, day)), ModelSet()
        ),
        odds=to.part("ledger of odds", lambda: odds_given(settings, day), ()),
        guessed=to.part("fairness figures", lambda: fairness.guessed(settings, day), ()),
        drift=to.part("drift figures", lambda: drift(settings, day), Drift()),
        origins=to.part("list of origins", lambda: origins_of(settings), ()),
    )
    facts = replace(facts, crossings=crossings(facts))
    return replace(facts, findings=(*to.gaps, *findings(facts)))


def _refusals(settings: Settings, day: date) -> tuple[Refusal, ...]:
    """Return the refusals without the machine's own path to the home."""
    home = f"{settings.home}/"
    return tuple(
        Refusal(step, without_personal(message.replace(home, "")))
        for step, message in read_step_failures(settings, day)
    )


def _matching(settings: Settings, day: date, to: Gathering) -> Matching:
    nothing: dict[str, Any] = {}
    with connect(settings) as connection:
        return Matching(
            **to.part("lead counts", lambda: matching.headline(settings, day), nothing),
            **to.part("pairs", lambda: matching.pairs(settings, day, connection), nothing),
            explored_of_new=to.part(
                "trials at new products",
                lambda: matching.explored_of_new(settings, day, connection),
                None,
            ),
            stages=to.part(
                "list of unmatched leads", lambda: matching.stages(settings, day, connection), ()
            ),
            institutions=to.part(
                "matches by institution",
                lambda: matching.institutions(settings, day, connection),
                (),
            ),
            channels=to.part(
                "matches by channel", lambda: matching.channels(settings, day, connection), ()
            ),
            silent_channels=to.part(
                "list of silent channels",
                lambda: matching.silent_channels(settings, day, connection),
                (),
            ),
            prices=to.part("prices", lambda: matching.prices(settings, day), ()),
            deliveries=to.part("list of deliveries", lambda: deliveries(settings, day), ()),
        )
