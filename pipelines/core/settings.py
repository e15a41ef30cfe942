"""The folders of a home and the options of a run, read from `BANYAN_*` variables."""

import os
import re
from datetime import UTC, date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines.core import environment

PROJECT = environment.PROJECT
"""The root of the code, with `dbt_project/`, `expectations/` and `dags/`."""

IS_INSTALLED = PROJECT.name in {"site-packages", "dist-packages"}
WORKING_FOLDER = Path.cwd() if IS_INSTALLED else PROJECT
"""The folder of `var/` and `.env`: the clone; for an installed wheel the current folder, because
Python's environment is no place for data."""

environment.isolate_libraries()  # here, because libraries read their variables on import

MEMORY = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})? ?([KMGT]i?B)", re.IGNORECASE)
"""An amount of memory as DuckDB reads it: 4GB, 512 MiB."""


class Settings(BaseSettings):
    """Frozen settings, read from ``BANYAN_*`` variables or ``.env``.

    Every path derives from `home`, so a test or a backfill with another home changes nothing
    outside it.
    """

    model_config = SettingsConfigDict(
        env_prefix="BANYAN_",
        env_file=WORKING_FOLDER / ".env",
        env_file_encoding="utf-8",
        frozen=True,
        extra="ignore",
    )

    home: Path = WORKING_FOLDER / "var"
    """The folder of all data and state."""

    time_zone: str = "Asia/Shanghai"
    """The platform's time zone; it decides the business date of a moment."""

    max_reject_share: float = Field(default=0.5, gt=0, le=1)
    """Largest share of a file's rows that may break its contract; above it the file is rejected."""

    threads: int = Field(default=2, ge=1)
    """Threads of one DuckDB connection."""

    memory_limit: str = "4GB"
    """Memory of one DuckDB connection, above which it spills to disk."""

    airflow_port: int = Field(default=8080, gt=0, lt=65_536)
    """The port of the web page of `make airflow`."""

    alert_mail_to: str = ""
    """The addresses of alerts by mail, separated by commas; the mail server is Airflow's connection
    `banyan_smtp`."""

    delivery_deadline: time = time(7)
    """The time of day by which the lead files of the date before are complete, in the platform's
    time zone; else an alert is sent."""

    identifier_key: SecretStr | None = None
    """The key of hashed identifiers; None: the one in `identifier_key_file`. Set it where two homes
    must give equal hashes."""

    lineage: bool = False
    """Whether each task writes OpenLineage events to `lineage/events.jsonl`."""

    shard_bytes: int = Field(default=64_000_000, gt=0)
    """Target size of one ingest shard, in landed bytes; more bytes make more shards."""

    engine: Literal["duckdb", "spark"] = "duckdb"
    """Where portions of leads are scored: in this process, or on Apache Spark (docs/spark.md)."""

    spark_master: str = Field(
        default="local[2]",
        pattern=r"^(local(\[.+\])?|local-cluster\[.+\]|spark://.+|yarn|k8s://.+)$",
    )
    """The Spark cluster: spark://HOST:PORT of a standalone master, `yarn`, `k8s://...`, or local[2]
    for two portions at a time on this machine. It counts where `engine` is spark."""

    umask: str = Field(default="077", pattern="^0?0[0-7]{2}$")
    """Permissions that new files do not get: 077 gives files the mode 600 and folders 700; 027 lets
    the group read, for example the group of an SFTP server that serves the outbox."""

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        """Refuse a name that is no region of the time zone database."""
        try:
            if name[:1].isupper():
                ZoneInfo(name)
                return name
        except (OSError, ValueError, KeyError):  # unknown, a folder, or no name of a file
            pass
        raise ValueError(
            f"{name!r} is no time zone; give a name of the time zone database, such as "
            "Asia/Shanghai"
        )

    @field_validator("memory_limit")
    @classmethod
    def _is_an_amount_of_memory(cls, amount: str) -> str:
        """Refuse what DuckDB cannot read as an amount of memory, and zero."""
        if MEMORY.fullmatch(amount) and amount.strip("0.")[:1].isdigit():
            return amount
        raise ValueError(f"{amount!r} is no amount of memory; give one such as 4GB or 512MB")

    @cached_property
    def landing(self) -> Path:
        """Files as received, never changed: FEED/SOURCE/YYYY-MM-DD/NAME."""
        return self.home / "landing"

    @cached_property
    def ledger(self) -> Path:
        """The files that count for each business date, by content hash: date=D.jsonl."""
        return self.home / "ledger"

    @cached_property
    def identifier_key_file(self) -> Path:
        """The key of hashed identifiers, made at first use; who has it can reverse the hashes."""
        return self.home / "keys" / "identifiers.key"

    @cached_property
    def lake(self) -> Path:
        """Checked rows, by the business date on which they became known: FEED/date=D."""
        return self.home / "lake"

    @cached_property
    def quarantine(self) -> Path:
        """Quarantined rows and files, each with its reason: FEED/date=D."""
        return self.home / "quarantine"

    @cached_property
    def warehouse(self) -> Path:
        """The DuckDB file of dbt; while one process writes to it, no other can open it."""
        return self.home / "warehouse.duckdb"

    @cached_property
    def marts(self) -> Path:
        """The tables of dbt that models and matching read, as Parquet: date=D."""
        return self.home / "marts"

    @cached_property
    def registry(self) -> Path:
        """The model sets; as_of=D was trained on outcomes known before D."""
        return self.home / "registry"

    @cached_property
    def pairs(self) -> Path:
        """Eligible pairs with their scores: date=D."""
        return self.home / "pairs"

    @cached_property
    def matches(self) -> Path:
        """The chosen pairs: date=D."""
        return self.home / "matches"

    @cached_property
    def offers(self) -> Path:
        """The matches from the lead's side: date=D."""
        return self.home / "offers"

    @cached_property
    def unmatched(self) -> Path:
        """The leads without a match, each with the stage that excluded it: date=D."""
        return self.home / "unmatched"

    @cached_property
    def reasons(self) -> Path:
        """The reasons of each match, and of each lead that a model declined, as text: date=D."""
        return self.home / "reasons"

    @cached_property
    def outbox(self) -> Path:
        """The deliveries: date=D/INSTITUTION."""
        return self.home / "outbox"

    @cached_property
    def delivered(self) -> Path:
        """The matches that each institution received, one file a shard of deliveries: date=D."""
        return self.home / "delivered"

    @cached_property
    def settlement(self) -> Path:
        """The judged receipts, notices and decisions on returns of each day: date=D."""
        return self.home / "settlement"

    @cached_property
    def step_failures(self) -> Path:
        """The failures of steps that have not succeeded yet, for the report: date=D/STEP."""
        return self.home / "step_failures"

    @cached_property
    def measurements(self) -> Path:
        """The cost of each step, for operators; no step reads them: date=D/STEP.json."""
        return self.home / "measurements"

    @cached_property
    def metrics(self) -> Path:
        """The metrics of the newest date, for Prometheus: banyan.prom."""
        return self.home / "metrics"

    @cached_property
    def transport(self) -> Path:
        """What happened to each delivery on its way; no replay makes it: date=D/INSTITUTION.json"""
        return self.home / "transport"

    @cached_property
    def reports(self) -> Path:
        """The report of each day, as a page and as figures: date=D."""
        return self.home / "reports"

    @cached_property
    def evidence(self) -> Path:
        """What proves later what was published and decided: the publication log, the decisions."""
        return self.home / "evidence"

    @cached_property
    def policies(self) -> Path:
        """The text of every policy that a day was run under: VERSION.json, files/SHA256.yml."""
        return self.home / "policies"

    @cached_property
    def scorecards(self) -> Path:
        """Cached results of each matching policy on a simulated day; no step reads them: date=D."""
        return self.home / "scorecards"

    @cached_property
    def truth(self) -> Path:
        """The hidden truth of a simulated world; the pipeline never reads it."""
        return self.home / "truth"

    @cached_property
    def lineage_events(self) -> Path:
        """The OpenLineage events of every run, one JSON object a line, where `lineage` is set."""
        return self.home / "lineage" / "events.jsonl"

    @cached_property
    def airflow(self) -> Path:
        """Airflow's configuration and SQLite metadata for runs on this machine."""
        return self.home / "airflow"

    @cached_property
    def alerts(self) -> Path:
        """The alerts that were sent about each date: date=D.jsonl."""
        return self.home / "alerts"

    @cached_property
    def persons(self) -> Path:
        """What persons asked for: the ledger of it, proofs of erasures; no step writes to it."""
        return self.home / "persons"

    @cached_property
    def logs(self) -> Path:
        """Logs for engineers; no step reads them."""
        return self.home / "logs"

    @property
    def file_mode(self) -> str:
        """The mode of a new file, in octal digits, for programs that set it themselves."""
        return f"0o{0o666 & ~int(self.umask, 8):o}"

    @property
    def folder_mode(self) -> str:
        """The mode of a new folder, in octal digits, for programs that set it themselves."""
        return f"0o{0o777 & ~int(self.umask, 8):o}"

    @cached_property
    def zone(self) -> ZoneInfo:
        """The platform's time zone."""
        return ZoneInfo(self.time_zone)

    def day_start(self, day: date) -> datetime:
        """Return the first moment of business date `day`, with its offset.

        Where clocks are put forward at midnight, the date begins at one o'clock: 00:00 of that
        date does not exist, and Airflow would take it for a moment of the day before.
        """
        midnight = datetime.combine(day, time(), tzinfo=self.zone)
        return midnight.astimezone(UTC).astimezone(self.zone)

    @staticmethod
    def day_folder(folder: Path, day: date) -> Path:
        """Return the partition of `folder` for `day`: ``folder/date=YYYY-MM-DD``."""
        return folder / f"date={day:%Y-%m-%d}"


def use_home(home: Path) -> Settings:
    """Set `home` for this process and for every process it starts; return the settings."""
    os.environ["BANYAN_HOME"] = str(home.resolve())
    return Settings()
