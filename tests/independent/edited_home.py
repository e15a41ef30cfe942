"""A home of small markets whose files are edited on their way, run twice and judged."""

import json
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from pipelines.core.settings import Settings
from tests.independent.check import Check
from tests.independent.edits import Arrival, Edit, arrive
from tests.independent.landed import Landing
from tests.independent.quick_run import Queries, at_date, compile_once, run_day
from tests.independent.restrictions import Lead
from tests.independent.small_market import BEFORE, DAY, NEXT, MarketFile, make_market, write_files

NEVER = 4102444800.0
"""The time of arrival of a file that did not arrive: the year 2100."""
LOST_ROWS = {"leads_quarantined", "unterminated_line"}
"""Findings on rows of leads that have no end but the quarantine."""


@dataclass(frozen=True)
class Plan:
    """The edits of one example home."""

    edits: Mapping[int, Sequence[Edit]]
    """Market -> the edits of its files."""
    may_hold: bool = False
    """Whether a list of orders may become unreadable as a whole."""
    runs_next: bool = False
    """Whether the next date is run before the date is run again."""
    runs_again: bool = True
    """Whether what was delayed arrives, and the date is run again."""


@dataclass(frozen=True)
class Fault:
    """A violation of the property in one market."""

    market: int
    text: str


class EditedHome:
    """A prepared home of small markets; `judge` runs one plan on a copy of it."""

    def __init__(self, folder: Path, markets: int, seed: int) -> None:
        self.seed = seed
        self.rows = 0
        self.delivering: set[int] = set()
        """Markets of the last plan of which any row was delivered."""
        self.loses: tuple[str, ...] = ()
        """Feeds whose files are lost on arrival, to see that the property can fail."""
        self.template, self.meant = folder / "template", folder / "meant"
        self.settings = Settings(home=folder / "home", threads=1, memory_limit="1GB")
        self.files = {market: make_market(market, seed) for market in range(markets)}
        home = self.settings.home
        write_files(self._files(BEFORE), home / "landing")
        compiled = compile_once(self.settings, DAY)
        self.queries: dict[date, Queries] = {
            day: at_date(compiled, DAY, day) for day in (BEFORE, DAY, NEXT)
        }
        run_day(self.settings, BEFORE, self.queries[BEFORE])
        assert not Check(home, home / "landing").run(BEFORE, BEFORE)
        home.rename(self.template)

    def _files(self, day: date) -> list[MarketFile]:
        return [file for files in self.files.values() for file in files if file.day == day]

    def files_of_day(self, market: int) -> list[MarketFile]:
        return [file for file in self.files[market] if file.day == DAY]

    def judge(self, plan: Plan) -> list[Fault]:
        """Run the date, then again with what was delayed, and return every violation."""
        home = self.settings.home
        for folder in (home, self.meant):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.template, home)
        shutil.copytree(home / "landing", self.meant)
        arrivals = self._arrive(plan)
        for arrival in arrivals:
            self._land(arrival, arrival.now)
        verdicts = [run_day(self.settings, DAY, self.queries[DAY])]
        faults = self._find_lost_leads(arrivals)
        if plan.runs_again:
            for arrival in arrivals:
                self._land(arrival, arrival.later)
            if plan.runs_next:
                run_day(self.settings, NEXT, self.queries[NEXT])
            verdicts.append(run_day(self.settings, DAY, self.queries[DAY]))
        assert all(verdict["verdict"] for verdict in verdicts)
        check = Check(home, self.meant, links=home / "landing")
        self.rows = 0
        for violation in check.run(DAY, NEXT):
            faults.append(Fault(_market_of(violation.institution), f"{violation}"))
        self.rows = check.rows
        self.delivering = set(map(_market_of, check.receivers))
        return faults

    def describe(self, plan: Plan, market: int) -> dict[str, tuple[str, ...]]:
        """Return the edited files of a market with their edits."""
        return {
            arrival.file.path: arrival.edits
            for arrival in self._arrive(plan)
            if arrival.file.market == market and arrival.edits
        }

    def _arrive(self, plan: Plan) -> list[Arrival]:
        arrivals = []
        for market in self.files:
            by_file: defaultdict[int, list[Edit]] = defaultdict(list)
            files = self.files_of_day(market)
            for edit in plan.edits.get(market, ()):
                by_file[edit.file % len(files)].append(edit)
            for number, file in enumerate(files):
                arrivals.append(arrive(file, by_file[number], may_hold=plan.may_hold))
        return arrivals

    def _land(self, arrival: Arrival, contents: list[tuple[str, bytes]]) -> None:
        """Write what arrives, and the file as it was meant with the time of its first arrival."""
        meant = self.meant / arrival.file.path
        if not meant.is_file():
            meant.parent.mkdir(parents=True, exist_ok=True)
            meant.write_bytes(arrival.file.encode())
            os.utime(meant, (NEVER, NEVER))
        for name, data in contents:
            path = (self.settings.landing / arrival.file.path).with_name(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if arrival.file.feed not in self.loses:
                path.write_bytes(data)
            now = time.time()
            os.utime(meant, (now, min(now, meant.stat().st_mtime)))

    def _find_lost_leads(self, arrivals: list[Arrival]) -> list[Fault]:
        """Return a fault for each lead that arrived and neither has an end nor a finding."""
        home, day = self.settings.home, f"date={DAY}"
        ends: set[str] = set()
        for table, where in {
            "matches/{}/matches": "true",
            "unmatched/{}/unmatched": "true",
            "marts/{}/leads": "exclusion_stage is not null",
        }.items():
            path = home / f"{table.format(day)}.parquet"
            rows = duckdb.sql(
                f"select distinct channel_id || '/' || lead_id "
                f"from read_parquet('{path}', hive_partitioning = false) where {where}"
            ).fetchall()
            ends.update(name for (name,) in rows)
        quarantine = home / "quarantine" / "leads" / day / "quarantine.parquet"
        quarantined = duckdb.sql(
            f"select distinct file from read_parquet('{quarantine}', hive_partitioning = false)"
        ).fetchall()
        quality = json.loads((home / "reports" / day / "quality.json").read_text("utf-8"))
        findings = {(finding["id"], finding["where"]) for finding in quality["findings"]}
        faults = []
        for arrival in arrivals:
            if arrival.file.feed != "leads" or not arrival.now:
                continue
            file = Landing(self.meant).read_one(arrival.file.path)
            # copies of leads of the day before have their end there
            names = {
                Lead(row, file).name for row in arrival.file.rows if f"{DAY}" in row["consent_at"]
            }
            paths = {(str(Path(arrival.file.path).with_name(name)),) for name, _ in arrival.now}
            is_found = {name for name, _ in findings} & LOST_ROWS
            is_rejected = ("file_rejected", f"leads/{arrival.file.source}") in findings
            if names <= ends:
                continue
            if not paths & set(quarantined) or not (is_found or is_rejected):
                faults.append(
                    Fault(arrival.file.market, f"lost: {sorted(names - ends)} of {paths}")
                )
        return faults


def _market_of(institution: str) -> int:
    """Return the market of a lender; -1 where a violation names none."""
    return int(institution.removeprefix("lender").partition("-")[0] or -1)
