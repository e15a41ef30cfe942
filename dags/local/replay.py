"""Compute a day again from its recorded inputs and compare the results with the published files.

The inputs of a day are the landed files that the ledger lists up to it, the partitions of the
previous days and the models trained before its week's. Everything else is computed again, through
the same DAG, in a temporary home, under the policies that the day's manifests pin.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from dags.local.in_process import run_dates
from expectations import policy
from expectations.contracts import feeds as all_feeds
from expectations.policy import POLICY_FOLDER
from models.champion import registry
from models.training.dataset import find_anchor
from pipelines.billing.follow_up import follow_up
from pipelines.core.data_provenance import history_file
from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.evidence.kept_policies import export_policies, find_kept
from pipelines.core.evidence.sign_offs import read_lines, sign_off_file
from pipelines.core.home.schema_version import REPLAY, VERSION, is_whole, write_version
from pipelines.core.home.shared_marts import list_shared_files
from pipelines.core.publishing import (
    MANIFEST,
    SIGNATURE,
    code_version,
    list_known_feeds,
    read_manifest,
    sha256,
    write_json,
)
from pipelines.core.settings import Settings, use_home
from pipelines.core.stored_files import read_json, read_json_lines
from pipelines.deliveries.deliver import deliver, find_held_today, plan_shards
from pipelines.deliveries.delivered_matches import sealed_ids_path
from pipelines.deliveries.going_live import GOING_LIVE
from pipelines.deliveries.last_gate.landed_since import record_folder
from pipelines.deliveries.present_knowledge import REPLAYED_KNOWLEDGE
from pipelines.deliveries.retraction_list import LISTS
from pipelines.deliveries.sealing import SUFFIXES
from pipelines.persons.replayed import explain_differences, find_erasures
from pipelines.reports.publish_report import report

INPUT_FOLDERS = ("lake/*", "quarantine/*", "marts", "pairs", "matches", "offers", "settlement")
"""Folders whose partitions of previous days are inputs."""
COMPARED_FOLDERS = (
    *INPUT_FOLDERS,
    *("unmatched", "reasons", "outbox", "outbox/channels", "reports"),
)
"""Folders whose partition of the day is compared; the models of its week are compared as well."""
LATER_KNOWLEDGE = ("lake/*", "marts")
"""Folders whose later partitions a corrected delivery was judged by."""


def replay(settings: Settings, day: date) -> dict[str, Any]:
    """Run `day` again in a temporary home and return the published files that differ.

    A delivery that was corrected, or judged by what became known after `day`, is delivered again
    with the knowledge that its manifest states, on top of the versions before it.

    Of a day of which persons were erased since, each step is compared row by row, see
    `pipelines.persons.replayed`; the result has `explained` and `erasures` as well.

    Returns:
        `date`, `compared` (number of files), `differences` (path below the home -> what differs),
        `is_same_code` (true if the present code is the one that published the day), `published_by`
        (versions of package, code and policies that the day was published by), `policies` (`kept`:
        they are the present ones, or their text was read from the home; `lost`: the present ones
        were used) and `held_today` (institution -> reason -> match ids in its newest file that
        would be held back today).

    Raises:
        InputMissing: The day was not published.
        IntegrityError: The day cannot be run again, or a landed file of it has changed since.
    """
    manifest = read_manifest(settings.day_folder(settings.matches, day))
    _require_delivered(settings, day)
    erasures = find_erasures(settings, day)
    feeds = list_known_feeds(settings, day)
    with tempfile.TemporaryDirectory(prefix=".replay-", dir=settings.home) as folder:
        scratch = Settings(home=Path(folder))
        _link_inputs(settings, scratch.home, day, erasures)
        pinned = _PinnedPolicies(settings, scratch.home / ".policies")
        matched_under = pinned.find(manifest)
        with _use_policies(matched_under):
            _run_in_child(_run_day, scratch.home, day)
        reported_under = pinned.find(_read_report(settings, day), matched_under)
        if _find_later_knowledge(settings, day) or reported_under != matched_under:
            with _use_policies(reported_under):
                _run_in_child(_repeat_later_steps, settings.home, scratch.home, day)
        if erasures:
            facts = {"date": f"{day}", "is_same_code": manifest["code_version"] == code_version()}
            return facts | explain_differences(settings, scratch, day, erasures)
        published, replayed = _hash_files(settings, day), _hash_files(scratch, day)
        code = read_manifest(scratch.day_folder(scratch.matches, day))["code_version"]
    return {
        "date": f"{day}",
        "compared": len(published),
        "differences": {
            path: difference
            for path, difference in _compare(published, replayed)
            if not _is_of_newer_feed(path, feeds)
        },
        "is_same_code": manifest["code_version"] == code,
        "published_by": {
            name: manifest.get(name)
            for name in ("package_version", "code_version", "policy_version", "policies")
        },
        "policies": "lost" if matched_under is None else "kept",
        "held_today": find_held_today(settings, day),
    }


def _read_report(settings: Settings, day: date) -> dict[str, Any]:
    """Return the manifest of the report of `day`; empty if there is none."""
    folder = settings.day_folder(settings.reports, day)
    return read_manifest(folder) if (folder / MANIFEST).is_file() else {}


def _require_delivered(settings: Settings, day: date) -> None:
    if _read_report(settings, day).get("on_hold"):
        raise IntegrityError(
            f"{day} is on hold: its lead files wait for a decision, or were refused by one, so the "
            "day is not complete and there is nothing to compare. Nothing was done. "
            "`banyan status` shows the decisions."
        )


class _PinnedPolicies:
    """The policies that manifests pin, as folders."""

    def __init__(self, settings: Settings, folder: Path):
        self._settings, self._folder = settings, folder

    def find(self, manifest: dict[str, Any], matched_under: Path | None = None) -> Path | None:
        """Return the folder of the policies that `manifest` pins; None if their text is lost.

        A manifest of an earlier version pins the policies up to the matching alone, that of its
        report none: it was written under the policies of the matching.
        """
        if not manifest:
            return policy.FOLDER
        pinned = manifest.get("policies") or manifest.get("policy_version")
        if pinned is None:
            return matched_under
        if pinned in (policy.full_version(), policy.version()):
            return policy.FOLDER
        kept = find_kept(self._settings, pinned)
        if kept is None:
            return None
        folder = self._folder / kept.version
        if not folder.is_dir():
            export_policies(self._settings, kept, folder)
        return folder


@contextmanager
def _use_policies(folder: Path | None) -> Iterator[None]:
    """Let the processes that the block starts use the policies in `folder`; None: the present."""
    before = os.environ.get(POLICY_FOLDER)
    if folder is not None:
        os.environ[POLICY_FOLDER] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(POLICY_FOLDER, None)
        if before is not None:
            os.environ[POLICY_FOLDER] = before


def _find_later_knowledge(settings: Settings, day: date) -> dict[str, str]:
    """Return institution -> the date by which its delivery was judged, if that is a later one."""
    knowledge = {}
    for path in sorted(settings.day_folder(settings.outbox, day).glob(f"*/{MANIFEST}")):
        manifest = read_manifest(path.parent)
        as_of = manifest.get("judged_as_of", f"{day}")
        if as_of != f"{day}" or len(manifest["deliveries"]) > 1:
            knowledge[path.parent.name] = as_of
    return knowledge


def _repeat_later_steps(published: Path, scratch: Path, day: date) -> None:
    """Repeat what was done after the run: corrected deliveries, and the report after them."""
    try:
        settings = use_home(scratch)
        _repeat_later_deliveries(Settings(home=published), settings, day)
        report(settings, day)
    except BanyanError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _repeat_later_deliveries(settings: Settings, scratch: Settings, day: date) -> None:
    """Deliver again, in the home `scratch`, what was delivered with later knowledge, and report.

    The lake and the marts of the later days are linked only now, so that no step before it can have
    read them.
    """
    outbox = settings.day_folder(settings.outbox, day)
    knowledge = _find_later_knowledge(settings, day)
    for name in knowledge:
        manifest = read_manifest(outbox / name)
        _link_earlier_versions(outbox / name, scratch.day_folder(scratch.outbox, day), manifest)
    if not knowledge:
        return
    for root in LATER_KNOWLEDGE:
        for folder in settings.home.glob(f"{root}/date=*"):
            if f"date={day}" < folder.name <= f"date={max(knowledge.values())}":
                for path in folder.rglob("*"):
                    _link(settings.home, path.relative_to(settings.home), scratch.home)
    write_json(scratch.ledger / REPLAYED_KNOWLEDGE, knowledge)
    for shard in plan_shards(scratch, day):
        names = [name for name in shard["institutions"] if name in knowledge]
        receipts = [name for name in shard["receipts"] if name in knowledge]
        deliver(scratch, day, {"institutions": names, "receipts": receipts})
    follow_up(scratch, day)


def _link_earlier_versions(published: Path, scratch_outbox: Path, manifest: dict[str, Any]) -> None:
    """Put a delivery into the state in which its newest manifest was written.

    If the newest version was published by another judgement than the manifest, only what is held
    back has changed since, and that version is an earlier one.
    """
    versions, home = manifest["deliveries"], scratch_outbox.parents[1]
    if manifest.get("state") == "delivered" and versions:
        is_newest = versions[-1].get("judged_as_of") == manifest.get("judged_as_of")
        versions = versions[:-1] if is_newest else versions
    folder = scratch_outbox / published.name
    shutil.rmtree(folder, ignore_errors=True)
    if not versions:
        return
    folder.mkdir(parents=True)
    for version in versions:
        shutil.copyfile(published / version["file"], folder / version["file"])
        if version.get("sealed_with"):
            ids = sealed_ids_path(published, version)
            _link(published.parents[2], ids.relative_to(published.parents[2]), home)
    names = ("format", "delivery", "columns", "public_key")
    kept = {name: manifest[name] for name in names if name in manifest}
    kept |= {"deliveries": versions, "version": len(versions)}
    lists = manifest.get(LISTS, [])
    if lists and lists[-1]["judged_as_of"] == manifest["judged_as_of"]:
        lists = lists[:-1]
    if lists:
        kept[LISTS] = lists
    for entry in lists:
        shutil.copyfile(published / entry["file"], folder / entry["file"])
    write_json(folder / MANIFEST, kept)


def _run_in_child(run: Callable[..., None], *arguments: Any) -> None:
    """Run a function in a child process: Airflow knows one home per process, policies one folder.

    The last argument is the date.
    """
    day = arguments[-1]
    child = get_context("spawn").Process(target=run, args=arguments)
    child.start()
    child.join()
    if child.exitcode:
        raise IntegrityError(
            f"{day} cannot be run again; the messages above say why. The published files are "
            "unchanged."
        )


def _run_day(home: Path, day: date) -> None:
    try:
        run_dates(use_home(home), day, day)
    except BanyanError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _link_inputs(
    settings: Settings, scratch: Path, day: date, erasures: dict[str, list[str]]
) -> None:
    """Link the inputs of `day` into the home `scratch`; no run changes a published file.

    The models of a day of which persons were erased are an input: their records are gone.
    """
    today = f"date={day}"
    earlier = [path for path in settings.ledger.glob("date=*.jsonl") if path.stem < today]
    for ledger in (*earlier, settings.ledger / f"{today}.jsonl"):
        for entry in read_json_lines(ledger):
            _link(settings.home, Path("landing") / entry["path"], scratch)
    key_file = settings.identifier_key_file
    for beside in (*earlier, settings.ledger / "origins.json", history_file(settings), key_file):
        _link(settings.home, beside.relative_to(settings.home), scratch)
    _link(settings.home, Path("ledger") / "waiting" / f"{today}.json", scratch)
    _copy_sign_offs(settings, scratch, day)
    for kept in (*settings.policies.glob("*.json"), *settings.policies.glob("files/*.yml")):
        _link(settings.home, kept.relative_to(settings.home), scratch)
    for record in record_folder(settings, day).glob("*.parquet"):
        _link(settings.home, record.relative_to(settings.home), scratch)
    for record in settings.day_folder(settings.transport, day).glob("*.json"):
        _link(settings.home, record.relative_to(settings.home), scratch)  # the report reads them
    written_as = 1 if is_whole(settings.day_folder(settings.marts, day)) else VERSION
    write_version(Settings(home=scratch))
    settlement = settings.day_folder(settings.settlement, day)
    has_settlement = (settlement / MANIFEST).is_file()
    has_answers = has_settlement and "receipt_answers" in read_manifest(settlement)
    facts = {
        "date": f"{day}",
        "schema_version": written_as,
        "has_settlement": has_settlement,
        "has_receipt_answers": has_answers,
        "log": _read_report(settings, day).get("log"),
        GOING_LIVE: _find_not_live(settings, day),
    }
    facts |= {"published": f"{settings.home.resolve()}"} if erasures else {}
    for record in settings.persons.rglob("*"):
        _link(settings.home, record.relative_to(settings.home), scratch)
    write_json(scratch / "ledger" / REPLAY, facts)
    if earlier:
        closed = {"closed_through": f"{day - timedelta(days=1)}"}
        write_json(scratch / "ledger" / "closed.json", closed)
    partitions = [path for root in INPUT_FOLDERS for path in settings.home.glob(f"{root}/date=*")]
    trained = set() if erasures else _model_sets_trained_on(settings, day)
    model_sets = set(settings.registry.glob("as_of=*")) - trained
    partitions += settings.delivered.glob("date=*")
    partitions += settings.ledger.glob("deliveries/date=*")
    inputs = [*(path for path in partitions if path.name < today), *sorted(model_sets)]
    files = {file for folder in inputs for file in (*folder.rglob("*"), *list_shared_files(folder))}
    manifests = settings.outbox.glob(f"date=*/*/{MANIFEST}")
    files |= {path for path in manifests if path.parts[-3] < today}
    for path in sorted(files):
        _link(settings.home, path.relative_to(settings.home), scratch)


def _find_not_live(settings: Settings, day: date) -> dict[str, str]:
    """Return the institutions whose delivery waits for the receipt of a test, with the message."""
    manifests = map(read_json, settings.day_folder(settings.outbox, day).glob(f"[!.]*/{MANIFEST}"))
    return {
        manifest["institution_id"]: manifest["message"]
        for manifest in manifests
        if GOING_LIVE in manifest.get("held_reasons", {})
    }


def _copy_sign_offs(settings: Settings, scratch: Path, day: date) -> None:
    """Copy the decisions that the published page of `day` shows."""
    shown = _read_report(settings, day).get("sign_offs", 0)
    source = sign_off_file(settings, day)
    if shown:
        target = scratch / source.relative_to(settings.home)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join(line + b"\n" for line in read_lines(source)[:shown]))


def _link(home: Path, name: Path, scratch: Path) -> None:
    if (home / name).is_file():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(home / name, scratch / name)


def _model_sets_trained_on(settings: Settings, day: date) -> set[Path]:
    """Return the model set that `day` trains; empty if an earlier day of the week trained it."""
    possible = {registry.set_folder(settings, as_of) for as_of in (day, find_anchor(day))}
    return possible & {_model_set_folder(settings, day)}


def _model_set_folder(settings: Settings, day: date) -> Path:
    return registry.set_folder(settings, registry.find_active_set(settings, day))


def _hash_files(settings: Settings, day: date) -> dict[str, str]:
    """Return path below the home -> hash, of every file that `day` published."""
    folders = [
        path for root in COMPARED_FOLDERS for path in settings.home.glob(f"{root}/date={day}")
    ]
    folders.append(_model_set_folder(settings, day))
    files = [
        file for folder in folders for file in (*folder.rglob("*"), *list_shared_files(folder))
    ]
    return {
        path.relative_to(settings.home).as_posix(): _hash(path)
        for path in (*files, settings.ledger / f"date={day}.jsonl")
        if path.is_file()
    }


def _is_of_newer_feed(path: str, feeds: tuple[str, ...]) -> bool:
    """Return whether a file belongs to a feed that did not exist when the day was run."""
    root, _, rest = path.partition("/")
    return root in {"lake", "quarantine"} and rest.split("/")[0] in set(all_feeds()) - set(feeds)


def _hash(path: Path) -> str:
    """Return a file's hash; a manifest's without the versions of the code that wrote it.

    Encryption gives other bytes each time, so a sealed file is compared by `content_sha256`, the
    hash of its plain text in the manifest, and a signature by its existence.
    """
    if path.suffix in SUFFIXES.values() or path.name == SIGNATURE:
        return path.suffix
    if path.name != MANIFEST:
        return sha256(path)
    manifest = read_json(path) | dict.fromkeys(("code_version", "package_version", "policies"))
    versions = [*manifest.get("deliveries", ()), *manifest.get(LISTS, ())]
    if sealed := [each for each in versions if each.get("sealed_with")]:
        manifest["content_sha256"] = None
        for version in sealed:
            version["sha256"] = None
            manifest["files"].pop(version["file"], None)
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _compare(published: dict[str, str], replayed: dict[str, str]) -> Iterator[tuple[str, str]]:
    for path in sorted(published.keys() | replayed.keys()):
        if path not in replayed:
            yield path, "published, but not computed again"
        elif path not in published:
            yield path, "computed again, but not published"
        elif published[path] != replayed[path]:
            yield path, "differs"
