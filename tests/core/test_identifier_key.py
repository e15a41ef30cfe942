"""The key of identifiers: made once, kept private, never replaced in silence."""

import hashlib
import hmac
import stat
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest
from pydantic import SecretStr

from pipelines.core.errors import IntegrityError
from pipelines.core.identifier_key import create_keyed_hash_macro, load_identifier_key
from pipelines.core.publishing import publishing
from pipelines.core.settings import Settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("BANYAN_IDENTIFIER_KEY")
    return Settings(home=tmp_path)


def test_the_key_is_made_once_and_only_its_owner_reads_it(home):
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(load_identifier_key, [home] * 16))
    assert keys == {load_identifier_key(Settings(home=home.home))}
    assert [path.name for path in home.identifier_key_file.parent.iterdir()] == ["identifiers.key"]
    assert stat.S_IMODE(home.identifier_key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.identifier_key_file.parent.stat().st_mode) == 0o700


def test_two_homes_have_different_keys(home, tmp_path):
    assert load_identifier_key(home) != load_identifier_key(Settings(home=tmp_path / "other"))


def test_a_lost_key_is_not_replaced_where_the_lake_has_hashes(home):
    with publishing(home.lake / "leads" / "date=2026-03-01", {}):
        pass
    with pytest.raises(IntegrityError, match="Restore the file"):
        load_identifier_key(home)
    assert not home.identifier_key_file.exists()


@pytest.mark.parametrize("content", ["", "short", "x" * 65, "\udcff" * 40])
def test_a_torn_key_is_refused(home, content):
    home.identifier_key_file.parent.mkdir()
    home.identifier_key_file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(IntegrityError, match="Restore"):
        load_identifier_key(home)


def test_the_variable_must_agree_with_the_file(home):
    key = load_identifier_key(home)
    same, other = (
        Settings(home=home.home, identifier_key=SecretStr(text)) for text in (key, "y" * 32)
    )
    assert load_identifier_key(same) == key
    with pytest.raises(IntegrityError, match="BANYAN_IDENTIFIER_KEY differs"):
        load_identifier_key(other)
    assert key not in repr(same)


@pytest.mark.parametrize("text", ["", "abc", "借款人|1", "x" * 1000])
def test_a_keyed_hash_is_an_hmac(text):
    key = "k" * 40
    connection = duckdb.connect()
    create_keyed_hash_macro(connection, key)
    hashed = connection.execute("select keyed_hash(?), keyed_hash(null)", [text]).fetchone()
    expected = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
    assert hashed == (expected, None)
