"""Sealed files are readable by their institution alone, and manifests prove who made them."""

import subprocess
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyrage
import pytest

from dags.local.replay import _hash
from pipelines.cli.app import main
from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import MANIFEST, SIGNATURE, read_manifest, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.deliveries.delivered_matches import sealed_ids_path
from pipelines.deliveries.institution_delivery import read_delivered_ids
from pipelines.deliveries.signatures import ALLOWED_SIGNERS, rotate_key
from tests.deliveries.test_deliver import (
    CSV_BANK,
    PARQUET_BANK,
    deliver_all,
    filter_matches,
    folder_of,
    matches_of,
    replace_mart,
)
from tests.helpers.matched_day import DAY
from tests.helpers.openpgp import KeyRing
from tests.helpers.representatives import keep

pytestmark = pytest.mark.usefixtures("remembered")


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyRing]:
    with tempfile.TemporaryDirectory(prefix="gpg-") as folder:  # an agent's socket has a short name
        ring = KeyRing(Path(folder) / "home")
        yield ring
        ring.close()


def use_key(settings: Settings, key: str, bank: str = CSV_BANK) -> None:
    replace_mart(settings, "products", "public_key", key, bank)


def find_plain_text(settings: Settings, bank: str = CSV_BANK) -> list[Path]:
    """Return the files of the outbox, and of the work folder, with a person of the bank in it."""
    roots = (settings.outbox, settings.home / "work")
    files = [path for root in roots for path in root.rglob("*") if path.is_file()]
    return [path for path in files if bank in f"{path}" and b"Person, No. " in path.read_bytes()]


@pytest.fixture
def identity() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


def test_an_age_file_opens_with_the_institutions_identity_alone(delivered_copy, identity):
    plain = folder_of(delivered_copy, CSV_BANK) / "leads.csv"
    expected = plain.read_bytes()
    other = Settings(home=delivered_copy.home)
    subprocess.run(["rm", "-r", f"{other.outbox}"], check=True)
    use_key(delivered_copy, f"{identity.to_public()}")
    deliver_all(delivered_copy)
    sealed = folder_of(delivered_copy, CSV_BANK) / "leads.csv.age"
    assert pyrage.decrypt(sealed.read_bytes(), [identity]) == expected
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(sealed.read_bytes(), [pyrage.x25519.Identity.generate()])
    (version,) = read_manifest(sealed.parent)["deliveries"]
    assert version["sealed_with"] == {"form": "age", "key": f"{identity.to_public()}"}
    assert version["sha256"] == sha256(sealed) != version["content_sha256"]
    assert find_plain_text(delivered_copy) == []
    assert sorted(read_delivered_ids(sealed.parent)) == sorted(
        match["match_id"] for match in matches_of(delivered_copy, CSV_BANK)
    )


def test_the_same_rows_stay_the_same_version_and_others_are_a_correction(matched_copy, identity):
    use_key(matched_copy, f"{identity.to_public()}")
    deliver_all(matched_copy)
    folder = folder_of(matched_copy, CSV_BANK)
    first = (folder / "leads.csv.age").read_bytes()
    assert deliver_all(matched_copy)["delivered"] == 0
    use_key(matched_copy, f"{pyrage.x25519.Identity.generate().to_public()}")
    assert deliver_all(matched_copy)["delivered"] == 0  # a new key alone is no correction
    use_key(matched_copy, f"{identity.to_public()}")
    removed = matches_of(matched_copy, CSV_BANK)[0]["match_id"]
    filter_matches(matched_copy, lambda row: row["match_id"] != removed)
    deliver_all(matched_copy)
    assert read_manifest(folder)["retracted"] == [removed]
    assert (folder / "leads.csv.age").read_bytes() == first
    corrected = pyrage.decrypt((folder / "leads.v2.csv.age").read_bytes(), [identity])
    assert removed.encode() not in corrected


def test_an_institution_that_lost_its_products_gets_no_plain_correction(matched_copy, identity):
    use_key(matched_copy, f"{identity.to_public()}")
    deliver_all(matched_copy)
    use_key(matched_copy, f"{identity.to_public()}")
    replace_mart(matched_copy, "products", "format", None, CSV_BANK)
    filter_matches(matched_copy, lambda row: row["institution_id"] != CSV_BANK)
    deliver_all(matched_copy)
    names = {path.name for path in folder_of(matched_copy, CSV_BANK).iterdir()}
    assert names == {
        *("leads.csv.age", "leads.v2.csv.age", "retractions.csv.age"),
        *(MANIFEST, SIGNATURE),
    }


def test_lost_ids_of_a_sealed_version_stop_with_words(matched_copy, identity):
    use_key(matched_copy, f"{identity.to_public()}")
    deliver_all(matched_copy)
    folder = folder_of(matched_copy, CSV_BANK)
    sealed_ids_path(folder, read_manifest(folder)["deliveries"][0]).unlink()
    with pytest.raises(IntegrityError, match="ids of a sealed lead file"):
        read_delivered_ids(folder)


def test_an_openpgp_file_opens_with_the_institutions_key(matched_copy, keys):
    text, fingerprint = keys.make()
    use_key(matched_copy, text, PARQUET_BANK)
    deliver_all(matched_copy)
    folder = folder_of(matched_copy, PARQUET_BANK)
    opened = matched_copy.home / "opened.parquet"
    opened.write_bytes(keys.decrypt(folder / "leads.parquet.gpg"))
    assert lead_file.read(opened).num_rows == len(matches_of(matched_copy, PARQUET_BANK))
    (version,) = read_manifest(folder)["deliveries"]
    assert version["sealed_with"] == {"form": "openpgp", "key": fingerprint}
    assert (matched_copy.home / "keys" / "gnupg").stat().st_mode & 0o777 == 0o700
    assert find_plain_text(matched_copy, PARQUET_BANK) == []


@pytest.mark.parametrize("last", keep((0,), [5, 8]))
def test_a_key_that_cannot_be_used_holds_the_file_with_words(matched_copy, keys, last):
    expired = keys.make(made="20250101T000000", expires="2026-01-01")[0]
    revoked = keys.revoke(keys.make(made="20250102T000000")[1])
    weak = keys.make("rsa1024")[0]
    age = f"{pyrage.x25519.Identity.generate().to_public()}"
    wrong = age[:-1] + ("q" if age[-1] != "q" else "p")
    cases = {
        expired: "key_expired",
        revoked: "key_revoked",
        weak: "key_weak",
        wrong: "key_unreadable",
        "--output=/tmp/stolen": "key_unreadable",
        "age1example": "key_unreadable",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nrubbish\n": "key_unreadable",
        f"{expired}\n{weak}": "key_unreadable",
    }
    for key, reason in list(cases.items())[:last]:
        use_key(matched_copy, key)
        result = deliver_all(matched_copy)
        assert result["held_back"] == 1, reason
        (message,) = result["messages"]
        assert "can't be used" in message
        folder = folder_of(matched_copy, CSV_BANK)
        manifest = read_manifest(folder)
        held = {reason: len(matches_of(matched_copy, CSV_BANK))}
        assert (manifest["state"], manifest["held_reasons"]) == ("held", held)
        assert {path.name for path in folder.iterdir()} == {MANIFEST, SIGNATURE}
    assert find_plain_text(matched_copy) == []


def test_a_replay_compares_sealed_files_by_their_content(matched_copy, identity, matched_home):
    use_key(matched_copy, f"{identity.to_public()}")
    deliver_all(matched_copy)
    before = _hash_outbox(matched_copy)
    subprocess.run(["rm", "-r", f"{matched_copy.outbox}"], check=True)
    deliver_all(matched_copy)
    assert _hash_outbox(matched_copy) == before
    subprocess.run(["rm", "-r", f"{matched_copy.outbox}"], check=True)
    removed = matches_of(matched_copy, CSV_BANK)[0]["match_id"]
    filter_matches(matched_copy, lambda row: row["match_id"] != removed)
    deliver_all(matched_copy)
    assert _hash_outbox(matched_copy) != before


def _hash_outbox(settings: Settings) -> dict[str, str]:
    outbox = settings.day_folder(settings.outbox, DAY) / CSV_BANK
    return {path.name: _hash(path) for path in sorted(outbox.iterdir())}


def verify(settings: Settings, folder: Path) -> bool:
    """Verify a manifest as an institution does, with OpenSSH."""
    command = [
        *("ssh-keygen", "-Y", "verify", "-f", f"{settings.outbox / ALLOWED_SIGNERS}"),
        *("-I", "banyan", "-n", "banyan-manifest", "-s", f"{folder / SIGNATURE}"),
    ]
    with (folder / MANIFEST).open("rb") as manifest:
        done = subprocess.run(command, check=False, stdin=manifest, capture_output=True)
    return done.returncode == 0


def test_every_manifest_verifies_and_a_changed_one_does_not(delivered_copy):
    for bank in (CSV_BANK, PARQUET_BANK):
        assert verify(delivered_copy, folder_of(delivered_copy, bank))
    (key,) = (delivered_copy.home / "keys" / "signing").iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    folder = folder_of(delivered_copy, CSV_BANK)
    manifest = (folder / MANIFEST).read_text("utf-8")
    (folder / MANIFEST).write_text(manifest.replace('"version": 1', '"version": 2'), "utf-8")
    assert not verify(delivered_copy, folder)


def test_a_new_key_signs_from_its_date_and_the_old_manifests_verify(delivered_copy):
    folder = folder_of(delivered_copy, CSV_BANK)
    first = (folder / SIGNATURE).read_text()
    rotate_key(delivered_copy, date(2027, 1, 1))
    assert verify(delivered_copy, folder)
    deliver_all(delivered_copy)
    assert (folder / SIGNATURE).read_text() == first
    rotate_key(delivered_copy, DAY)
    deliver_all(delivered_copy)
    assert (folder / SIGNATURE).read_text() != first
    assert verify(delivered_copy, folder)
    with pytest.raises(IntegrityError, match="no new key"):
        rotate_key(delivered_copy, DAY)


def test_a_damaged_signing_key_stops_with_words(delivered_copy):
    (key,) = (delivered_copy.home / "keys" / "signing").iterdir()
    key.write_text("no key")
    with pytest.raises(IntegrityError, match="can't be read"):
        deliver_all(delivered_copy)


def test_the_verb_prints_the_keys_and_rotates(tmp_path, capsys):
    assert main(["signing-key", "--home", f"{tmp_path}"]) == 0
    first = capsys.readouterr().out
    assert first.startswith('banyan namespaces="banyan-manifest" ssh-ed25519 ')
    rotate = ["signing-key", "--home", f"{tmp_path}", "--rotate-from", "2027-01-01"]
    assert main(rotate) == 0
    assert capsys.readouterr().out.startswith(first)
    assert main(rotate) == 1
