"""Send step of a day: bring each published delivery to its institution.

Institutions are sent to in parallel and each has its own limit of time, so a slow or dead server
delays nobody else. What arrived is never sent again; what can't arrive is a dead letter, which the
verdict of the day names.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential_jitter,
)

from expectations import policy
from expectations.policy_types import Tries
from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.home.schema_version import REPLAY
from pipelines.core.publishing import MANIFEST, check_file, read_manifest, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries.going_live import (
    GOING_LIVE,
    Place,
    TestAnswers,
    TestDelivery,
    describe_open_test,
    find_open_test,
    mark_test_sent,
    test_folder,
)
from pipelines.deliveries.ledger.delivery_versions import (
    FOLDER,
    list_institutions,
    name_delivery,
)
from pipelines.deliveries.ledger.record import record_plan
from pipelines.deliveries.recipient import Recipient, read_recipient
from pipelines.deliveries.sealing import KeyUnusable
from pipelines.deliveries.signatures import sign_manifests
from pipelines.transport.endpoints import (
    Endpoint,
    FindEndpoint,
    TransportInterrupted,
    TransportRefused,
)
from pipelines.transport.records import (
    SentFile,
    TransportRecord,
    format_time,
    list_records,
    read_record,
    write_record,
)
from pipelines.transport.sftp_upload import Deadline, LocalFile, describe_errors, upload_files
from pipelines.transport.windows import describe_window, find_window

RECENT_DAYS = 14
"""Dates before the present one whose deliveries are tried again."""


@dataclass(frozen=True)
class Shipment:
    """One published delivery that has something to send."""

    folder: Path
    transport: str
    record: TransportRecord
    """The record so far; files that arrived before have `sent_at`."""
    files: tuple[LocalFile, ...]
    """The files that have not arrived, the manifest last."""

    @property
    def recipient(self) -> Recipient:
        """The institution, by the manifest."""
        return read_recipient(read_manifest(self.folder))


def send(
    settings: Settings,
    day: date,
    find_endpoint: FindEndpoint,
    *,
    tries: Tries | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Send the deliveries of `day` and record what happened to each.

    Args:
        settings: Settings of the home.
        day: The business date of the deliveries.
        find_endpoint: Returns the endpoint of an institution.
        tries: When an upload is repeated; by default the policy's.
        now: The moment, by which delivery windows are judged.

    Returns:
        The deliveries that were sent now, that had been sent before, that wait and that are dead
        letters; and the messages of the last two.
    """
    if (settings.ledger / REPLAY).is_file():
        return {"sent": 0, "replayed": True}  # a replay sends nothing to anybody
    sign_manifests(settings, day, list_institutions(settings, day))
    moment = now or datetime.now(UTC)
    shipments, damaged = list_shipments(settings, day)
    unsent = [shipment for shipment in shipments if shipment.files]
    prepared = [_prepare(settings, shipment, moment) for shipment in unsent]
    records = [record for record in prepared if record]
    for record in records:
        write_record(settings, day, record)
    decided = {record.institution_id for record in records}
    open_shipments = [each for each in unsent if each.record.institution_id not in decided]
    records += _send_all(settings, day, open_shipments, find_endpoint, tries)
    record_plan(settings, day)
    return _summarise(records, damaged, unchanged=len(shipments) - len(unsent))


def send_waiting(
    settings: Settings,
    day: date,
    find_endpoint: FindEndpoint,
    *,
    tries: Tries | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Send what waits, or found no server, of the `RECENT_DAYS` dates up to `day`.

    Returns:
        The sums of `send` over the dates that have such a delivery, and the dates of which one has
        arrived now.
    """
    total: Counter[str] = Counter()
    arrived = []
    for back in range(RECENT_DAYS, -1, -1):
        of = day - timedelta(days=back)
        if any(record.can_be_tried_again for record in list_records(settings, of)):
            counts = send(settings, of, find_endpoint, tries=tries, now=now)
            total.update({name: counts[name] for name in ("sent", "waiting", "dead_letters")})
            arrived += [f"{of}"] if counts["sent"] else []
    return {name: total[name] for name in ("sent", "waiting", "dead_letters")} | {
        "dates_arrived": arrived
    }


def list_shipments(settings: Settings, day: date) -> tuple[list[Shipment], list[str]]:
    """Return the deliveries of `day` that have any file besides the manifest.

    The second result has a message for each whose manifest or record is damaged. It is not sent,
    because nobody can say what its institution has already.
    """
    outbox = settings.day_folder(settings.outbox, day)
    found, damaged = [], []
    for path in sorted(outbox.glob(f"[!.]*/{MANIFEST}")):
        try:
            found.append(_load_shipment(settings, day, path.parent))
        except IntegrityError as error:
            damaged.append(f"{path.parent.name}: {error}")
    return [shipment for shipment in found if shipment], damaged


def _load_shipment(settings: Settings, day: date, folder: Path) -> Shipment | None:
    manifest = read_manifest(folder)
    if not manifest["files"]:
        return None
    files = list_files(folder, manifest)
    before = read_record(settings, day, folder.name)
    arrived = {(file.name, file.sha256): file for file in (before.files if before else ())}
    facts = {(file.path.name, file.sha256): file for file in files}
    record = TransportRecord(
        delivery_id=manifest.get("delivery_id") or name_delivery(day, folder.name),
        institution_id=folder.name,
        date=f"{day}",
        version=manifest["version"],
        state="waiting",
        endpoint=before.endpoint if before else "",
        sent_at=before.sent_at if before else "",
        window_ends=before.window_ends if before else "",
        files=tuple(
            arrived.get(key) or SentFile(key[0], key[1], file.bytes) for key, file in facts.items()
        ),
        attempts=before.attempts if before else (),
    )
    unsent = {(file.name, file.sha256) for file in record.files if not file.sent_at}
    return Shipment(
        folder=folder,
        transport=manifest.get("delivery", FOLDER),
        record=record,
        files=tuple(file for key, file in facts.items() if key in unsent),
    )


def list_files(folder: Path, manifest: dict[str, Any]) -> list[LocalFile]:
    """Return the files of a published folder: content, then signatures, the manifest last.

    The content's hashes are the ones that the manifest states, so that a file which was changed
    after it was published is not sent.
    """
    stated = {name: facts["sha256"] for name, facts in manifest["files"].items()}
    names = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    names.sort(key=lambda name: (name.startswith(MANIFEST), name == MANIFEST))
    return [
        LocalFile(
            path=folder / name,
            sha256=stated.get(name) or sha256(folder / name),
            bytes=(folder / name).stat().st_size,
            is_replaceable=name.startswith(MANIFEST),
        )
        for name in names
    ]


def _prepare(settings: Settings, shipment: Shipment, now: datetime) -> TransportRecord | None:
    """Return the record of a delivery that needs no upload, or none now; None: send it."""
    record = shipment.record
    if shipment.transport == FOLDER:
        return _mark_sent(replace(record, endpoint=FOLDER), now)
    agreement = policy.transport().agreement(record.institution_id)
    try:
        window = find_window(agreement, now, settings.zone)
    except TransportRefused as refusal:
        return _mark_dead(record, refusal.reason, f"{refusal}")
    if window is None:
        return None
    ends = record.window_ends or format_time(window[1])
    return replace(
        record,
        reason="window",
        message=f"{record.institution_id} {describe_window(agreement, window)}",
        window_ends=ends,
        is_overdue=datetime.fromisoformat(ends) < now,
    )


def _send_all(
    settings: Settings,
    day: date,
    shipments: Sequence[Shipment],
    find_endpoint: FindEndpoint,
    tries: Tries | None,
) -> list[TransportRecord]:
    """Send in parallel; each record is written when its institution is done."""
    limits = tries or policy.transport().tries
    answers = TestAnswers(settings)
    records = []

    def finish(record: TransportRecord) -> None:
        write_record(settings, day, record)
        records.append(record)

    with ThreadPoolExecutor(min(limits.parallel, max(1, len(shipments)))) as pool:
        running = {}
        for shipment in shipments:
            try:
                endpoint = find_endpoint(shipment.record.institution_id)
                place = Place(endpoint.address, endpoint.host_key)
                test = find_open_test(settings, day, shipment.recipient, answers, place)
            except (TransportRefused, KeyUnusable) as refusal:
                finish(_mark_dead(shipment.record, refusal.reason, f"{refusal}"))
                continue
            except IntegrityError as error:
                finish(_mark_dead(shipment.record, "damaged", f"{error}"))
                continue
            shipped = _load_test(settings, shipment, test) if test else shipment
            if test and test.sent_at:
                finish(_await_answer(shipment, endpoint, test))
            else:
                task = pool.submit(_send_one, shipped, endpoint, limits)
                running[task] = shipment, endpoint, test
        for task in as_completed(running):
            shipment, endpoint, test = running[task]
            record = task.result()
            if test and record.state == "sent":
                mark_test_sent(settings, record.institution_id, test)
                record = _await_answer(shipment, endpoint, test)
            elif test:
                record = replace(
                    record,
                    delivery_id=shipment.record.delivery_id,
                    version=shipment.record.version,
                    files=shipment.record.files,
                )
            finish(record)
    return records


def _load_test(settings: Settings, shipment: Shipment, test: TestDelivery) -> Shipment:
    """Return the test delivery that goes in place of a real one."""
    folder = test_folder(settings, shipment.recipient, test.number)
    files = tuple(list_files(folder, read_manifest(folder)))
    sent = tuple(SentFile(file.path.name, file.sha256, file.bytes) for file in files)
    record = replace(shipment.record, delivery_id=test.delivery_id, version=1, files=sent)
    return Shipment(folder, shipment.transport, record, files)


def _await_answer(shipment: Shipment, endpoint: Endpoint, test: TestDelivery) -> TransportRecord:
    """Return the record of a delivery that waits for the receipt of a test delivery."""
    return replace(
        shipment.record,
        endpoint=endpoint.address,
        reason=GOING_LIVE,
        message=describe_open_test(shipment.recipient, test),
    )


def _send_one(shipment: Shipment, endpoint: Endpoint, limits: Tries) -> TransportRecord:
    """Return the record of a delivery after all attempts to send it."""
    record = replace(shipment.record, endpoint=endpoint.address)
    deadline = Deadline(monotonic() + limits.seconds_per_institution)
    attempts = Retrying(
        stop=stop_after_attempt(limits.attempts) | stop_after_delay(limits.seconds_per_institution),
        wait=wait_exponential_jitter(
            multiplier=limits.first_pause_seconds,
            max=limits.longest_pause_seconds,
            jitter=limits.first_pause_seconds,
        ),
        retry=retry_if_exception_type(TransportInterrupted),
        reraise=True,
    )
    try:
        for attempt in attempts:
            with attempt:
                try:
                    _try_once(shipment, endpoint, deadline, limits)
                except BanyanError as error:
                    record = record.add_attempt(datetime.now(UTC), f"{error}")
                    raise
    except TransportRefused as refusal:
        return _mark_dead(record, refusal.reason, f"{refusal}")
    except TransportInterrupted as error:
        return _mark_dead(record, "link", f"{error}; every attempt of this run has failed")
    except Exception as error:  # noqa: BLE001 - one institution's failure never stops the others
        return _mark_dead(record, "unforeseen", f"an unforeseen error: {type(error).__name__}")
    return _mark_sent(record.add_attempt(datetime.now(UTC)), datetime.now(UTC))


def _try_once(shipment: Shipment, endpoint: Endpoint, deadline: Deadline, limits: Tries) -> None:
    _require_unchanged(shipment)
    deadline.check()
    with describe_errors(endpoint.folder), endpoint.connect() as client:
        client.get_channel().settimeout(limits.silence_seconds)
        upload_files(client, endpoint.folder, shipment.record.delivery_id, shipment.files, deadline)


def _require_unchanged(shipment: Shipment) -> None:
    for file in shipment.files:
        if how := check_file(file.path, file.sha256):
            raise TransportRefused(
                "damaged", f"{file.path.name} {how}, so nothing was sent; deliver the day again"
            )


def _mark_sent(record: TransportRecord, now: datetime) -> TransportRecord:
    at = format_time(now)
    files = tuple(replace(file, sent_at=file.sent_at or at) for file in record.files)
    return replace(
        record,
        state="sent",
        reason="",
        message="",
        sent_at=at,
        window_ends="",
        is_overdue=False,
        files=files,
    )


def _mark_dead(record: TransportRecord, reason: str, message: str) -> TransportRecord:
    return replace(record, state="dead_letter", reason=reason, message=message)


def _summarise(
    records: Sequence[TransportRecord], damaged: list[str], unchanged: int
) -> dict[str, Any]:
    states = Counter(record.state for record in records)
    return {
        "sent": states["sent"],
        "unchanged": unchanged,
        "waiting": states["waiting"],
        "dead_letters": states["dead_letter"] + len(damaged),
        "messages": damaged
        + [
            f"{record.institution_id}: {record.message}"
            for record in sorted(records, key=lambda each: each.institution_id)
            if record.message
        ],
    }
