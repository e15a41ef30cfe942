"""Where everything is and how a run is tuned: the only module that reads the environment."""

import os
from datetime import date, datetime, time
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parents[2]
"""The root of the code: `dbt_project/`, `expectations/` and `dags/` lie below it."""

NO_STATISTICS = {
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "SCARF_ANALYTICS": "false",
}
"""Airflow, dbt and Great Expectations send usage statistics unless told not to."""

os.environ.update(NO_STATISTICS)  # here, because each reads its switch when it is imported


class Settings(BaseSettings):
    """Frozen settings, read from ``BANYAN_*`` variables or ``.env``.

    Every path derives from `home`, so a test or a backfill that points it at another folder
    moves the whole pipeline there and touches nothing else.
    """

    model_config = SettingsConfigDict(
        env_prefix="BANYAN_", env_file=PROJECT / ".env", frozen=True, extra="ignore"
    )

    home: Path = PROJECT / "var"
    time_zone: str = "Asia/Shanghai"
    """The platform's time zone: it decides which business date a moment belongs to."""

    max_reject_share: float = Field(default=0.5, gt=0, le=1)
    """Share of a file's rows that may break its contract before the whole file is refused."""

    threads: int = Field(default=2, ge=1)
    memory_limit: str = "4GB"
    """Most memory that one DuckDB connection takes before it spills to disk."""

    airflow_port: int = Field(default=8080, gt=0, lt=65_536)
    """Where `make airflow` shows its page."""

    shard_bytes: int = Field(default=64_000_000, gt=0)
    """Landed bytes that one ingest shard takes on; more bytes make more shards."""

    @cached_property
    def landing(self) -> Path:
        """FEED/SOURCE/YYYY-MM-DD/NAME: files as received, never changed."""
        return self.home / "landing"

    @cached_property
    def ledger(self) -> Path:
        """Which files were taken in for which day, by content hash."""
        return self.home / "ledger"

    @cached_property
    def lake(self) -> Path:
        """FEED/date=D: checked rows, by the business date on which they became known."""
        return self.home / "lake"

    @cached_property
    def quarantine(self) -> Path:
        """FEED/date=D: rows and files that were set aside, each with its reason."""
        return self.home / "quarantine"

    @cached_property
    def warehouse(self) -> Path:
        """The DuckDB file of dbt. While one process writes it no other can open it."""
        return self.home / "warehouse.duckdb"

    @cached_property
    def marts(self) -> Path:
        """date=D: what dbt hands on to the models and the matching, as Parquet."""
        return self.home / "marts"

    @cached_property
    def registry(self) -> Path:
        """as_of=D: the model set trained on what was known before D."""
        return self.home / "registry"

    @cached_property
    def pairs(self) -> Path:
        """date=D: eligible pairs with their scores."""
        return self.home / "pairs"

    @cached_property
    def matches(self) -> Path:
        """date=D: the pairs that were chosen."""
        return self.home / "matches"

    @cached_property
    def offers(self) -> Path:
        """date=D: the same matches from the lead's side."""
        return self.home / "offers"

    @cached_property
    def unmatched(self) -> Path:
        """date=D: the leads that got no match, each with its reason."""
        return self.home / "unmatched"

    @cached_property
    def reasons(self) -> Path:
        """date=D: why each match, and why none where a model decided it, in words."""
        return self.home / "reasons"

    @cached_property
    def outbox(self) -> Path:
        """date=D/INSTITUTION: what each institution receives."""
        return self.home / "outbox"

    @cached_property
    def refusals(self) -> Path:
        """date=D/STEP: why a step did not finish, until it does; for the day's report."""
        return self.home / "refusals"

    @cached_property
    def reports(self) -> Path:
        """date=D: the day's page and its figures."""
        return self.home / "reports"

    @cached_property
    def scorecards(self) -> Path:
        """date=D: what each way to match a simulated day shows and brings; no step reads it."""
        return self.home / "scorecards"

    @cached_property
    def truth(self) -> Path:
        """The hidden truth of a simulated world; the pipeline never reads it."""
        return self.home / "truth"

    @cached_property
    def airflow(self) -> Path:
        """Airflow's own home for runs on this machine: its configuration and SQLite metadata."""
        return self.home / "airflow"

    @cached_property
    def logs(self) -> Path:
        """What ran, for engineers; nothing in here is read by a step."""
        return self.home / "logs"

    @cached_property
    def zone(self) -> ZoneInfo:
        """The platform's time zone."""
        return ZoneInfo(self.time_zone)

    def day_start(self, day: date) -> datetime:
        """Return the first moment of business date `day`, with its offset."""
        return datetime.combine(day, time(), tzinfo=self.zone)

    @staticmethod
    def of_day(folder: Path, day: date) -> Path:
        """Return the partition of `folder` for `day`: ``folder/date=YYYY-MM-DD``."""
        return folder / f"date={day:%Y-%m-%d}"


def use_home(home: Path) -> Settings:
    """Make `home` the home of this process and of every process it starts."""
    os.environ["BANYAN_HOME"] = str(home.resolve())
    return Settings()
