"""Deliveries of a large day: the daily job's own steps, on invented leads and real keys.

The day is invented; the steps are real. Each institution's file is checked by the last gate, sealed
to a key of OpenPGP or age, signed and recorded. Each shard has a process of its own, as its Airflow
task has. Afterwards each file is opened with the private key of its institution, and its rows are
counted.
"""

import multiprocessing
import resource
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import gnupg
import pyrage
from tenacity import Retrying, stop_after_attempt, wait_fixed

from dags.steps import run_step
from pipelines.bench.benchmarks.deliveries.matched_day import DAY, write_matched_day
from pipelines.bench.shell import (
    Figures,
    count_option,
    seed_option,
    show_progress,
    temporary_home,
)
from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import SIGNATURE, read_manifest
from pipelines.core.settings import Settings
from pipelines.core.step_measurements import read_measurements
from pipelines.deliveries import lead_file

Shard = dict[str, Any]

OPENPGP_KEY = """\
%no-protection
Key-Type: eddsa
Key-Curve: ed25519
Key-Usage: sign
Subkey-Type: ecdh
Subkey-Curve: cv25519
Subkey-Usage: encrypt
Name-Email: {address}
Expire-Date: 0
%commit
"""
MB = 1_000_000
ATTEMPTS = 5
"""Attempts to open a file with OpenPGP."""


@click.command("deliver")
@count_option("--leads", 1_000_000, "Leads of the day; each is delivered once.")
@count_option("--history", 0, "Earlier days with as many leads.", least=0)
@count_option("--institutions", 500, "Number of institutions.")
@count_option("--processes", 2, "Shards of institutions that are delivered at the same time.")
@seed_option
@click.pass_obj
def command(
    settings: Settings, *, leads: int, history: int, institutions: int, processes: int, seed: int
) -> Figures:
    """Measure delivering a large matched day: last gate, encryption, signatures and transport.

    The figures have `seconds`, `processor_seconds` (children included) and `peak_mb` (of the
    largest process) in all and under `steps` by step; `rows` (delivered), `rows_opened` (by the
    institutions with their private keys), `files`, `bytes` and `signed` of the outbox, and the
    number of institutions by `seals` and `formats`.
    """
    show_progress("deliver", "making keys, leads and matches")
    with temporary_home(settings) as home, make_keys(institutions) as keys:
        write_matched_day(home, leads, history, keys.public_keys, seed)
        plan, (shards,) = _measure(home, "plan_deliver", [()])
        deliver, _ = _measure(home, "deliver", [(shard,) for shard in shards], processes)
        send, _ = _measure(home, "send", [()])
        steps = {"plan_deliver": plan, "deliver": deliver, "send": send}
        show_progress("deliver", "opening the files")
        delivered = _describe_outbox(home, keys)
    return {
        "leads": leads,
        "history": history,
        "institutions": institutions,
        "seed": seed,
        "threads": settings.threads,
        "processes": processes,
        **delivered,
        "seconds": round(sum(step["seconds"] for step in steps.values()), 1),
        "processor_seconds": round(sum(step["processor_seconds"] for step in steps.values()), 1),
        "peak_mb": max(step["peak_mb"] for step in steps.values()),
        "steps": steps,
    }


@dataclass(frozen=True)
class KeyRing:
    """The keys of the institutions: of OpenPGP for every second one, of age for the others."""

    gpg: gnupg.GPG
    """With the private keys of OpenPGP."""
    identities: list[pyrage.x25519.Identity]
    public_keys: list[str]

    def open_file(self, number: int, sealed: Path, opened: Path) -> None:
        """Decrypt a file with the private key of institution `number`."""
        if number % 2:
            pyrage.decrypt_file(f"{sealed}", f"{opened}", [self.identities[number // 2]])
            return
        # GnuPG waits 5 seconds for its agent, which is too short on a machine under load
        for attempt in Retrying(stop=stop_after_attempt(ATTEMPTS), wait=wait_fixed(5)):
            with attempt:
                opened.unlink(missing_ok=True)
                done = self.gpg.decrypt_file(f"{sealed}", output=f"{opened}")
                if not done.ok:
                    raise IntegrityError(f"{sealed.name} of {sealed.parent.name}: {done.status}")


@contextmanager
def make_keys(institutions: int) -> Iterator[KeyRing]:
    """Make the keys of the institutions, in a temporary folder of their own."""
    # GnuPG's agent ends when the folder of its keys is gone
    with tempfile.TemporaryDirectory(prefix="banyan-keys-", ignore_cleanup_errors=True) as folder:
        gpg = gnupg.GPG(gnupghome=folder)
        gpg.encoding = "utf-8"
        addresses = [f"{number}@bank.example" for number in range(0, institutions, 2)]
        gpg.gen_key("".join(OPENPGP_KEY.format(address=address) for address in addresses))
        identities = [pyrage.x25519.Identity.generate() for _ in range(1, institutions, 2)]
        keys = [""] * institutions
        keys[::2] = [gpg.export_keys(f"<{address}>") for address in addresses]
        keys[1::2] = [f"{identity.to_public()}" for identity in identities]
        yield KeyRing(gpg, identities, keys)


def _measure(
    settings: Settings, step: str, tasks: Sequence[tuple[Shard, ...]], processes: int = 1
) -> tuple[Figures, list[Any]]:
    """Run the tasks of a step, each in a process of its own, as Airflow does.

    Args:
        settings: Settings of the home.
        step: The step.
        tasks: The shard of each task; the one task of a step without shards has none.
        processes: Tasks that run at the same time.

    Returns:
        The figures, and what each task returned.
    """
    show_progress("deliver", step)
    before, started = _children_seconds(), perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:
        running = [pool.submit(run_step, step, settings, DAY, *shard) for shard in tasks]
        results = [task.result() for task in running]
    seconds = perf_counter() - started
    measured = [each for each in read_measurements(settings, DAY) if each.step == step]
    figures = {
        "tasks": len(tasks),
        "seconds": round(seconds, 1),
        "processor_seconds": round(_children_seconds() - before, 1),
        "peak_mb": round(max(each.peak_bytes for each in measured) / MB),
    }
    return figures, results


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _describe_outbox(settings: Settings, keys: KeyRing) -> Figures:
    """Return what is in the outbox, and the rows that the institutions read in it."""
    outbox = settings.day_folder(settings.outbox, DAY)
    files = [path for path in outbox.rglob("*") if path.is_file()]
    rows = opened_rows = 0
    seals, formats = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="banyan-opened-") as scratch:
        for manifest in map(read_manifest, sorted(outbox.iterdir())):
            (version,) = manifest["deliveries"]
            opened = Path(scratch) / f"leads.{manifest['format']}"
            sealed = outbox / manifest["institution_id"] / version["file"]
            keys.open_file(int(manifest["institution_id"].split("-")[1]), sealed, opened)
            opened_rows += lead_file.read(opened).num_rows
            opened.unlink()
            rows += version["rows"]
            seals[version["sealed_with"]["form"]] += 1
            formats[manifest["format"]] += 1
    return {
        "rows": rows,
        "rows_opened": opened_rows,
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "signed": sum(path.name == SIGNATURE for path in files),
        "seals": dict(sorted(seals.items())),
        "formats": dict(sorted(formats.items())),
    }
