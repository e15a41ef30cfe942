"""Verify a home: files against manifests, manifests against the publication log, the log's heads.

Each file is read once, and each leaf of the log is hashed once: the work grows with the home alone.

A changed file differs from its manifest. If its manifest was forged with it, the manifest differs
from its leaf. If the leaf was forged too, the log's heads differ from the ones that reports state,
and from any head that somebody has kept elsewhere. A removed folder, or day, leaves its leaves.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import BanyanError, InputMissing, UsageError
from pipelines.core.evidence.kept_policies import read_index, read_kept
from pipelines.core.evidence.merkle_tree import Frontier, Tree
from pipelines.core.evidence.publication_log import (
    DATE,
    Head,
    find_day_head,
    find_head,
    hash_bytes,
    list_published,
    list_segments,
    read_log,
    read_segment,
)
from pipelines.core.evidence.sign_offs import read_lines
from pipelines.core.home.erasures import read_changed_landings
from pipelines.core.home.shared_marts import list_shared_files
from pipelines.core.publishing import MANIFEST, SIGNATURE, check_file, read_manifest, write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json, read_json_lines
from pipelines.core.translation import plural
from pipelines.deliveries.ledger.events import FILE as BATCH
from pipelines.deliveries.ledger.events import FOLDER as DELIVERIES
from pipelines.ingest.landing import NOT_OPENED
from pipelines.transport.records import read_record

PROGRESS_EVERY = 100
"""Folders after which a person who watches sees how far it is."""

IDENTITY = ("feed", "source", "landed_on", "path", "version", "sha256", "bytes", "known_on")
"""What identifies a version of a landed file in the ledger; its state may change later."""

TIME_STAMP_REQUEST = (
    bytes.fromhex("30390201013031300d060960864801650304020105000420"),
    bytes.fromhex("0101ff"),
)
"""The bytes before and after the hash in a request of RFC 3161: version 1, a hash by SHA-256, and
that the answer shall have the certificate of the authority."""


@dataclass
class Verification:
    """What was looked at, and what was found."""

    head: Head
    """The present head of the log."""
    problems: dict[str, str] = field(default_factory=dict)
    """Path below the home, or date -> what is wrong with it."""
    notes: dict[str, str] = field(default_factory=dict)
    """The same -> what a reader should know, though nothing is wrong."""
    folders: int = 0
    files: int = 0
    leaves: int = 0
    heads: int = 0
    """Heads that reports or people have kept, and that were compared with the log."""
    decisions: int = 0


@dataclass
class _Log:
    """The leaves of the log, as far as its segments can be read."""

    newest: dict[str, str] = field(default_factory=dict)
    """Name -> SHA-256 of its newest leaf."""
    earlier: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Name -> SHA-256 of its earlier leaves."""
    roots: dict[int, str] = field(default_factory=dict)
    """Number of leaves -> root, of the heads that are compared."""
    size: int = 0
    is_whole: bool = True
    """False from the first segment on that is missing or altered."""


def verify_home(
    settings: Settings, day: date | None = None, kept: Iterable[Head] = ()
) -> Verification:
    """Return what differs in the home from what was published, and how much was looked at.

    Args:
        settings: Settings of the home; nothing is changed.
        day: The business date whose folders are looked at; None: all. The log is read whole.
        kept: Heads that somebody has kept elsewhere.

    Raises:
        InputMissing: Nothing of `day` was ever published, so an answer would prove nothing.
    """
    found = Verification(head=Head(0, ""))
    stated = [*_list_stated_heads(settings), *((f"head {head}", head) for head in kept)]
    log = _read_log(settings, {head.size for _, head in stated}, found)
    _compare_heads(log, stated, found)
    _check_folders(settings, day, log, found)
    _check_decisions(settings, day, log, found)
    _check_landed(settings, day, found)
    _check_batches(settings, day, found)
    _check_transport(settings, day, log, found)
    _check_policies(settings, found)
    if day and not found.folders and not found.problems:
        raise InputMissing(
            f"Nothing of {day} was published: the home has no folder of it, and the publication "
            "log no leaf. Nothing was proved. `banyan status` has the dates."
        )
    return found


def write_proof(settings: Settings, day: date, file: Path) -> None:
    """Write what proves the folders of `day` without the home: proofs of RFC 6962 as JSON.

    Raises:
        UsageError: `file` exists, or the log has nothing of the day.
    """
    head = find_day_head(settings, day)
    if head is None:
        raise UsageError(
            f"The publication log has nothing of {day}, so there is nothing to prove. Nothing was "
            f"written. Run the date first: `banyan run --date {day}`."
        )
    _require_new(file)
    leaves = [leaf for segment in read_log(settings) for leaf in segment.leaves]
    tree = Tree([leaf.hash for leaf in leaves])
    last = {leaf.name: index for index, leaf in enumerate(leaves)}
    own = {name: index for name, index in last.items() if _belongs_to(name, day)}
    content = {
        "date": f"{day}",
        "algorithm": "RFC 6962, SHA-256; a leaf is the text `SHA256  NAME` and a line feed",
        "head": {"size": tree.size, "root": tree.root.hex()},
        "earlier_head": {"size": head.size, "root": head.root},
        "consistency": [each.hex() for each in tree.prove_consistency(head.size)],
        "leaves": [
            {
                "name": name,
                "sha256": leaves[index].sha256,
                "index": index,
                "proof": [each.hex() for each in tree.prove_inclusion(index)],
            }
            for name, index in sorted(own.items())
        ],
    }
    write_json(file, content)


def write_time_stamp_request(settings: Settings, file: Path) -> Head:
    """Write a request of RFC 3161 to time-stamp the present head; return the head.

    Raises:
        UsageError: `file` exists, or the log is empty.
    """
    head = find_head(settings)
    if not head.size:
        raise UsageError("The publication log is empty. Nothing was written. Run a date first.")
    _require_new(file)
    before, after = TIME_STAMP_REQUEST
    file.write_bytes(before + bytes.fromhex(head.root) + after)
    return head


def _require_new(file: Path) -> None:
    if file.exists():
        raise UsageError(f"{file} exists. Nothing was written. Give another name.")


def _list_stated_heads(settings: Settings) -> Iterator[tuple[str, Head]]:
    """Yield the head that each report states; a damaged manifest is named with its folder."""
    for path in sorted(settings.reports.glob(f"date=*/{MANIFEST}")):
        try:
            log = read_json(path).get("log")
            if log:
                yield path.parent.relative_to(settings.home).as_posix(), Head(**log)
        except (BanyanError, TypeError):
            continue


def _read_log(settings: Settings, sizes: set[int], found: Verification) -> _Log:
    """Read every segment, and compute the root at each of `sizes`."""
    log, tree = _Log(), Frontier()
    for path in list_segments(settings):
        name = path.relative_to(settings.home).as_posix()
        try:
            segment = read_segment(path)
        except BanyanError:
            found.problems[name] = "is damaged: it is no segment of the publication log"
            log.is_whole = False
            continue
        if log.is_whole and segment.first != tree.size:
            found.problems[name] = (
                f"begins at leaf {segment.first:,}, the segment before it ends at {tree.size:,}: "
                "segments of the publication log were removed"
            )
            log.is_whole = False
        for leaf in segment.leaves:
            if leaf.name in log.newest:
                log.earlier[leaf.name].add(log.newest[leaf.name])
            log.newest[leaf.name] = leaf.sha256
            tree.append(leaf.hash)
            if log.is_whole and tree.size in sizes:
                log.roots[tree.size] = tree.root.hex()
        if log.is_whole and (
            segment.head != Head(tree.size, tree.root.hex())
            or list(segment.frontier) != tree.hashes
        ):
            found.problems[name] = "states another head than its leaves have: it was changed"
            log.is_whole = False
    log.size = found.leaves = tree.size
    found.head = Head(tree.size, tree.root.hex())
    return log


def _compare_heads(log: _Log, stated: list[tuple[str, Head]], found: Verification) -> None:
    """Compare the stated heads with the log; of many that differ, the earliest says most."""
    differ = []
    for where, head in sorted(stated, key=lambda item: item[1].size):
        if head.size > log.size:
            found.problems[where] = (
                f"states a publication log of {head.size:,} leaves; there are {log.size:,}: its "
                "end was removed"
            )
        elif head.size in log.roots:
            found.heads += 1
            if log.roots[head.size] != head.root:
                differ.append((where, head))
    if differ:
        where, head = differ[0]
        more = f"; {plural(len(differ) - 1, 'later head')} as well" if differ[1:] else ""
        found.problems[where] = (
            f"states a head that the first {head.size:,} leaves of the log don't have: a leaf "
            f"before it was changed, or the head was{more}"
        )


def _check_folders(settings: Settings, day: date | None, log: _Log, found: Verification) -> None:
    """Compare each published folder with its manifest, and each manifest or file with its leaf."""
    present = {name for name in list_published(settings) if _belongs_to(name, day)}
    logged = {name for name in log.newest if "#" not in name and _belongs_to(name, day)}
    _name_removed(logged - present, present, found)
    _name_unlogged(present - logged, logged, found)
    shared: set[Path] = set()
    for number, name in enumerate(sorted(present)):
        _show_progress(number, len(present))
        path = settings.home / name
        try:
            sha256 = hash_bytes(path.read_bytes())
        except OSError as error:
            found.problems[name] = f"can't be read ({type(error).__name__})"
            continue
        if name in logged and sha256 != log.newest[name]:
            found.problems[name] = (
                "is an earlier publication that was put back"
                if sha256 in log.earlier[name]
                else "is not what was published: it was changed or replaced"
            )
        if path.name != MANIFEST:
            found.files += 1
            continue
        found.folders += 1
        _check_files(settings, path.parent, found)
        try:
            shared.update(list_shared_files(path.parent))
        except (BanyanError, TypeError, KeyError):
            found.problems[f"{path.parent.relative_to(settings.home)}/history.json"] = "is damaged"
    for path in sorted(shared):
        found.files += 1
        if how := check_file(path, path.stem):
            found.problems[path.relative_to(settings.home).as_posix()] = how


def _name_removed(removed: set[str], present: set[str], found: Verification) -> None:
    dates_left = {match[1] for name in present if (match := DATE.search(name))}
    whole: defaultdict[str, int] = defaultdict(int)
    for name in sorted(removed):
        match = DATE.search(name)
        if match and match[1] not in dates_left:
            whole[match[1]] += 1
        else:
            found.problems[name] = "was removed after it was published"
    for name, folders in whole.items():
        found.problems[name] = f"the day was removed: {plural(folders, 'publication')}"


def _name_unlogged(unlogged: set[str], logged: set[str], found: Verification) -> None:
    logged_dates = {match[1] for name in logged if (match := DATE.search(name))}
    open_dates: defaultdict[str, int] = defaultdict(int)
    for name in sorted(unlogged):
        match = DATE.search(name)
        if match and match[1] in logged_dates:
            found.problems[name] = (
                "is not in the publication log: it was added by hand, or its step was killed "
                "(then run the date again)"
            )
        else:
            open_dates[match[1] if match else name] += 1
    for name, folders in open_dates.items():
        found.notes[name] = (
            f"{plural(folders, 'publication')} not in the log yet: a date is logged when its "
            "report is complete"
        )


def _check_files(settings: Settings, folder: Path, found: Verification) -> None:
    """Compare the files of a published folder with its manifest."""
    name = folder.relative_to(settings.home).as_posix()
    try:
        files: dict[str, dict[str, Any]] = dict(read_manifest(folder)["files"])
        stated = {file: str(facts["sha256"]) for file, facts in files.items()}
    except (BanyanError, LookupError, TypeError, ValueError, AttributeError):
        found.problems.setdefault(f"{name}/{MANIFEST}", "is damaged: it lists no files")
        return
    for file, sha256 in stated.items():
        found.files += 1
        if how := check_file(folder / file, sha256):
            found.problems[f"{name}/{file}"] = how
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for file in sorted(present - stated.keys() - {MANIFEST, SIGNATURE}):
        if not any(part.startswith(".") for part in Path(file).parts):
            found.problems[f"{name}/{file}"] = "is not in the manifest: it was added"


def _check_decisions(settings: Settings, day: date | None, log: _Log, found: Verification) -> None:
    """Compare each line of the sign-off ledger with its leaf."""
    logged = {name: sha for name, sha in log.newest.items() if "#" in name}
    present = {
        f"{path.relative_to(settings.home).as_posix()}#{number}": hash_bytes(line)
        for path in sorted((settings.evidence / "sign_offs").glob("date=*.jsonl"))
        for number, line in enumerate(read_lines(path), 1)
    }
    for name in sorted(logged.keys() | present.keys()):
        if day is not None and f"date={day}.jsonl" not in name:
            continue
        found.decisions += name in present
        if name not in present:
            found.problems[name] = "the decision was removed"
        elif name not in logged:
            found.problems[name] = "the decision is not in the publication log: it was added"
        elif present[name] != logged[name]:
            found.problems[name] = "the decision was changed"


def _check_landed(settings: Settings, day: date | None, found: Verification) -> None:
    """Compare the landed files, and the ledger of them, with what the lake's manifests recorded."""
    ledger: dict[str, list[tuple[Any, ...]]] = {}
    newest: dict[str, tuple[int, str, str]] = {}
    for path in sorted(settings.ledger.glob("date=*.jsonl")):
        try:
            entries = read_json_lines(path)
            ledger[path.stem] = [tuple(entry[key] for key in IDENTITY) for entry in entries]
        except (BanyanError, KeyError):
            found.problems[path.relative_to(settings.home).as_posix()] = "is damaged"
            continue
        for entry in entries:
            version = entry["version"], entry["sha256"], path.stem
            newest[entry["path"]] = max(newest.get(entry["path"], version), version)
    for name, recorded in _read_recorded(settings, day).items():
        if name in ledger and sorted(ledger[name]) != sorted(recorded):
            found.problems[f"ledger/{name}.jsonl"] = (
                "differs from the manifests of the date's lake: it was changed"
            )
    erased = read_changed_landings(settings.home)
    for landed, (_, received, known_on) in sorted(newest.items()):
        if received == NOT_OPENED:
            continue  # a file or folder of which nothing was ever read
        if day is None or known_on == f"date={day}":
            found.files += 1
            changed = erased.get(landed)
            is_erasure = changed is not None and changed.received == received
            expected = changed.present if changed and is_erasure else received
            if how := check_file(settings.landing / landed, expected):
                found.problems[f"landing/{landed}"] = how.replace("published", "read")


def _read_recorded(settings: Settings, day: date | None) -> dict[str, list[tuple[Any, ...]]]:
    """Return date folder -> the entries of its ledger by the manifests of its lake."""
    recorded: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for path in settings.lake.glob(f"*/date={day or '*'}/{MANIFEST}"):
        try:
            entries = read_json(path).get("ledger")
            for entry in entries or ():
                recorded[path.parent.name].append(tuple(entry[key] for key in IDENTITY))
        except (BanyanError, LookupError, TypeError):
            continue  # the manifest is named as damaged
    return recorded


def _check_batches(settings: Settings, day: date | None, found: Verification) -> None:
    """Compare the batches of the delivery ledger with the hashes in their names."""
    for path in sorted((settings.ledger / DELIVERIES).glob(f"date={day or '*'}/*")):
        if BATCH.match(path.name):
            found.files += 1
            if hash_bytes(path.read_bytes())[:16] != path.stem.partition("-")[2]:
                name = path.relative_to(settings.home).as_posix()
                found.problems[name] = "was changed after it was published"


def _check_transport(settings: Settings, day: date | None, log: _Log, found: Verification) -> None:
    """Compare what the records of transport state as sent with what the outbox published.

    The records have times of the wall clock, so they are no leaves: a replay would not make them.
    """
    for path in sorted(settings.transport.glob(f"date={day or '*'}/[!.]*.json")):
        name = path.relative_to(settings.home).as_posix()
        found.files += 1
        try:
            record = read_record(settings, date.fromisoformat(path.parent.name[5:]), path.stem)
        except (BanyanError, ValueError):
            found.problems[name] = "is damaged"
            continue
        folder = settings.outbox / path.parent.name / path.stem
        outbox = folder.relative_to(settings.home).as_posix()
        for file in record.files if record else ():
            leaf = f"{outbox}/{file.name}"
            if not file.sent_at or file.name == SIGNATURE:
                continue
            if file.name == MANIFEST:
                published = {log.newest.get(leaf, file.sha256), *log.earlier.get(leaf, ())}
                is_known = file.sha256 in published
            else:
                is_known = not check_file(folder / file.name, file.sha256)
            if not is_known:
                found.problems[name] = f"states as sent what {leaf} is not and never was"
                break


def _check_policies(settings: Settings, found: Verification) -> None:
    """Compare the kept text of the policies with its hashes, and look for the pinned ones."""
    versions = set()
    for path in sorted(settings.policies.glob("*.json")):
        versions.add(path.stem)
        try:
            found.files += len(read_kept(settings, read_index(path)))
        except BanyanError as error:
            name = path.relative_to(settings.home).as_posix()
            found.problems[name] = f"is not what was kept: {error}"
    for path in sorted(settings.matches.glob(f"date=*/{MANIFEST}")):
        try:
            pinned = read_json(path).get("policies")
        except BanyanError:
            continue  # the manifest is named as damaged
        if pinned and pinned not in versions:
            name = path.parent.relative_to(settings.home).as_posix()
            found.problems[f"policies/{pinned}.json"] = f"was removed; {name} pins it"


def _belongs_to(name: str, day: date | None) -> bool:
    match = DATE.search(name)
    return day is None or (match is not None and match[1] == f"date={day}")


def _show_progress(number: int, total: int) -> None:
    if number % PROGRESS_EVERY == 0 and sys.stderr.isatty():
        end = "" if number + PROGRESS_EVERY < total else "\n"
        sys.stderr.write(f"\rverify: folder {number:,} of {total:,}{end}")
