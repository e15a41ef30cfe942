"""Derived identity columns: hashes and validity of identity numbers and phones, person, age.

Normalised means: an identity number in capitals without spaces and hyphens; a phone in E.164,
without spaces, hyphens, dots and brackets. Later steps use only keyed hashes of them: HMAC-SHA256
with the secret key of the home, over the plain SHA-256. So the SHA-256 lists of partners match
after their hashes are keyed as well, and a reader of the warehouse can reverse no hash by trying.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from stdnum.cn import ric, uscc
from stdnum.us import ein

from expectations.contracts import Contract
from pipelines.core.identifier_key import create_keyed_hash_macro
from pipelines.ingest.phones import country_code_pattern, is_phone_valid_sql
from pipelines.ingest.reading.text_table import query_rows

CREDIT_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""Weights of the first 17 characters, and the characters by their value; the 18th makes the
weighted sum a multiple of 31 (GB 32100-2015)."""

RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
RESIDENT_CHECKS = "10X98765432"
"""Weights of the first 17 digits, and the 18th character by their weighted sum modulo 11
(GB 11643-1999)."""

MAX_AGE = 130
"""Years; a greater or negative age comes from a wrong date and is left empty."""


def derive_columns(
    connection: duckdb.DuckDBPyConnection, contract: Contract, rows: pa.Table, zone: str, key: str
) -> pa.Table:
    """Return `rows` with the columns that `contract` derives, in its order.

    The hashes that a suppression list holds are keyed in place.

    Args:
        connection: Runs the queries.
        contract: Names the derived columns.
        rows: Typed rows with the source column.
        zone: The platform's time zone; the age is taken on the date of capture in it.
        key: The key of the home's identifiers.
    """
    create_keyed_hash_macro(connection, key)
    if contract.feed == "suppressions":
        index = rows.schema.get_field_index("subject")
        return rows.set_column(index, "subject", query_rows(connection, _SUBJECTS, rows)["subject"])
    derive = {
        "leads": _derive_leads,
        "outcomes": _derive_outcomes,
        "receipts": _derive_receipts,
        "supply_links": _derive_supply_links,
    }.get(contract.feed)
    if derive is None:
        return rows
    derived = derive(connection, rows, zone)
    for column in contract.derived:
        rows = rows.append_column(column.name, derived[column.name].cast(column.arrow_type))
    return rows


def _derive_outcomes(
    _connection: duckdb.DuckDBPyConnection, rows: pa.Table, _zone: str
) -> pa.Table:
    return pa.table({"file_line": rows["line"], "history_kind": rows["origin"]})


def _derive_receipts(
    _connection: duckdb.DuckDBPyConnection, rows: pa.Table, _zone: str
) -> pa.Table:
    return pa.table({"file_line": rows["line"]})


def _derive_supply_links(
    connection: duckdb.DuckDBPyConnection, rows: pa.Table, _zone: str
) -> pa.Table:
    return pa.table(
        {
            f"{firm}_sha256": _derive_ids(connection, rows[f"{firm}_id"])["sha256"]
            for firm in ("buyer", "seller")
        }
    )


def _derive_leads(connection: duckdb.DuckDBPyConnection, rows: pa.Table, zone: str) -> pa.Table:
    ids = _derive_ids(connection, rows["id_number"])
    owner_ids = _derive_ids(connection, rows["owner_id_number"])
    phones = _derive_phones(connection, rows["phone"])
    checked = (
        rows.select(["channel_id", "lead_id", "captured_at", "birth_date", "id_type"])
        .append_column("id", ids["normalised"])
        .append_column("phone", phones["normalised"])
        .append_column("is_id_valid", _check_ids(connection, rows["id_type"], ids["normalised"]))
        .append_column("is_phone_valid", phones["is_valid"])
    )
    persons = query_rows(connection, _persons_sql(zone), checked)
    person_keys = _derive_texts(
        connection, {"sha256": "keyed_hash(sha256(text))"}, persons["person"]
    )
    return pa.table(
        {
            "id_number_sha256": ids["sha256"],
            "phone_sha256": phones["sha256"],
            "is_id_valid": checked["is_id_valid"],
            "is_phone_valid": checked["is_phone_valid"],
            "person_key": person_keys["sha256"],
            "age_years": persons["age_years"],
            "owner_id_number_sha256": owner_ids["sha256"],
            "is_owner_id_valid": _check_ids(
                connection, rows["owner_id_type"], owner_ids["normalised"]
            ),
        }
    )


def _derive_ids(connection: duckdb.DuckDBPyConnection, ids: pa.ChunkedArray) -> pa.Table:
    """Return each identity number `normalised`, and its keyed hash as `sha256`."""
    normalised = normalise_id_sql("text")
    terms = {"normalised": normalised, "sha256": f"keyed_hash(sha256({normalised}))"}
    return _derive_texts(connection, terms, ids)


def _derive_phones(connection: duckdb.DuckDBPyConnection, phones: pa.ChunkedArray) -> pa.Table:
    """Return each phone `normalised`, its keyed hash as `sha256`, and `is_valid`."""
    normalised = normalise_phone_sql("text")
    terms = {
        "normalised": normalised,
        "sha256": f"keyed_hash(sha256({normalised}))",
        "code": f"try_cast(regexp_extract({normalised}, '{country_code_pattern()}', 1) as integer)",
    }
    derived = _derive_texts(connection, terms, phones)
    codes = tuple(sorted(pc.unique(derived["code"]).drop_null().to_pylist()))
    is_valid = {"is_valid": is_phone_valid_sql("text", codes)}
    valid = _derive_texts(connection, is_valid, derived["normalised"])
    return derived.append_column("is_valid", valid["is_valid"])


def _derive_texts(
    connection: duckdb.DuckDBPyConnection, terms: Mapping[str, str], texts: pa.ChunkedArray
) -> pa.Table:
    """Return SQL terms of `text`, evaluated once for each distinct one of `texts`; null of null."""
    encoded = texts.combine_chunks().dictionary_encode()
    selected = ", ".join(f"{term} as {name}" for name, term in terms.items())
    distinct = pa.table({"text": encoded.dictionary})
    derived = query_rows(connection, f"select {selected} from received", distinct)
    return derived.combine_chunks().take(encoded.indices)


def _check_ids(
    connection: duckdb.DuckDBPyConnection, types: pa.ChunkedArray, ids: pa.ChunkedArray
) -> pa.ChunkedArray:
    """Return whether each number is valid for its type; null without a number or a type."""
    valid = pa.nulls(len(ids), pa.bool_())
    for id_type, select_valid in {
        "us_ein": partial(_select_valid, ein.is_valid),
        "prc_uscc": partial(_select_valid_credit_codes, connection),
        "prc_resident_id": partial(_select_valid_residents, connection),
    }.items():
        is_of_type = pc.and_(pc.equal(types, id_type), pc.is_valid(ids))
        valid_ids = select_valid(pc.unique(ids.filter(is_of_type)))
        is_of_type = pc.fill_null(is_of_type, fill_value=False)
        valid = pc.if_else(is_of_type, pc.is_in(ids, value_set=valid_ids), valid)
    return valid


def _select_valid(is_valid: Callable[[str], bool], numbers: pa.Array) -> pa.Array:
    return pa.array([n for n in numbers.to_pylist() if _is_valid(is_valid, n)], pa.string())


def _is_valid(is_valid: Callable[[str], bool], number: str) -> bool:
    try:
        return is_valid(number)
    except LookupError:
        return (
            False  # python-stdnum 2.2 fails on a resident id with a province in place of a county
        )


def _select_valid_credit_codes(
    connection: duckdb.DuckDBPyConnection, numbers: pa.Array
) -> pa.Array:
    """Return the valid credit codes of businesses, checked by SQL.

    python-stdnum checks the ones with other characters than digits and capitals: it takes some
    signs for these.
    """
    sums = " + ".join(
        f"(instr('{CREDIT_ALPHABET}', substr(id, {position}, 1)) - 1) * {weight}"
        for position, weight in enumerate(CREDIT_WEIGHTS, start=1)
    )
    sql = f"""
        select id
        from received
        where regexp_full_match(id, '[0-9]{{8}}[{CREDIT_ALPHABET}]{{10}}')
            and substr('{CREDIT_ALPHABET}', (31 - ({sums}) % 31) % 31 + 1, 1) = substr(id, 18, 1)
    """
    valid = query_rows(connection, sql, pa.table({"id": numbers}))["id"].cast(pa.string())
    is_plain = pc.match_substring_regex(numbers, "^[0-9A-Z]*$")
    others = _select_valid(uscc.is_valid, numbers.filter(pc.invert(is_plain)))
    return pa.concat_arrays([valid.combine_chunks(), others])


def _select_valid_residents(connection: duckdb.DuckDBPyConnection, numbers: pa.Array) -> pa.Array:
    """Return the valid resident ids, checked by SQL except for the county code.

    A county code must have been in use in the year of birth. python-stdnum checks one number per
    county and year: some thousands, regardless of the number of leads.
    """
    sums = " + ".join(
        f"cast(substr(id, {position}, 1) as integer) * {weight}"
        for position, weight in enumerate(RESIDENT_WEIGHTS, start=1)
    )
    sql = f"""
        with shaped as (
            select id from received where regexp_full_match(id, '[0-9]{{17}}[0-9X]')
        )
        select id, substr(id, 1, 10) as county_and_year
        from shaped
        where substr('{RESIDENT_CHECKS}', ({sums}) % 11 + 1, 1) = substr(id, 18, 1)
            and substr(id, 7, 4) != '0000'
            and try_strptime(substr(id, 7, 8), '%Y%m%d') is not null
    """
    checked = query_rows(connection, sql, pa.table({"id": numbers}))
    present = pc.unique(checked["county_and_year"]).to_pylist()
    valid = pa.array([one for one in present if _is_county_valid(one)], pa.string())
    is_valid = pc.is_in(checked["county_and_year"], value_set=valid)
    return checked["id"].filter(is_valid).combine_chunks()


@lru_cache(maxsize=100_000)
def _is_county_valid(county_and_year: str) -> bool:
    """Return whether a resident id can begin with these ten digits: a county and a year."""
    body = f"{county_and_year}0101000"
    return _is_valid(ric.is_valid, body + ric.calc_check_digit(f"{body}0"))


def normalise_id_sql(column: str) -> str:
    """Return SQL of a normalised identity number: capitals, no spaces and hyphens."""
    return f"nullif(upper(regexp_replace({column}, '[\\s-]', '', 'g')), '')"


def normalise_phone_sql(column: str) -> str:
    """Return SQL of a phone without punctuation."""
    return f"nullif(regexp_replace({column}, '[\\s().-]', '', 'g'), '')"


def lead_subject_sql(subject: str) -> str:
    """Return SQL of CHANNEL/LEAD with the channel in small letters, as every channel is named."""
    return f"lower(split_part({subject}, '/', 1)) || substr({subject}, strpos({subject}, '/'))"


_SUBJECTS = f"""
    select
        case
            when subject_type in ('id_number', 'phone') then keyed_hash(lower(subject))
            else {lead_subject_sql("subject")}
        end as subject
    from received
"""


def _persons_sql(zone: str) -> str:
    """Return SQL of the text whose hash is the key of a lead's person, and of the person's age."""
    return f"""
        with checked as (
            select
                *,
                coalesce(
                    case
                        when is_id_valid and id_type = 'prc_resident_id'
                            then cast(strptime(substr(id, 7, 8), '%Y%m%d') as date)
                    end,
                    birth_date
                ) as born_on,
                cast(timezone('{zone}', captured_at) as date) as captured_on
            from received
        ),

        aged as (
            select
                *,
                year(captured_on) - year(born_on) - cast(
                    (month(captured_on), day(captured_on)) < (month(born_on), day(born_on))
                    as integer
                ) as age
            from checked
        )

        select
            case
                when is_id_valid then 'id_number|' || id
                when is_phone_valid then 'phone|' || phone
                else 'lead|' || channel_id || '/' || lead_id
            end as person,
            case when age between 0 and {MAX_AGE} then age end as age_years
        from aged
    """
