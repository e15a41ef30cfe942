"""Derived identity columns: hashes and validity of identity numbers and phones, person, age.

Normalised means: an identity number in capitals without spaces and hyphens; a phone in E.164,
without spaces, hyphens, dots and brackets. Later steps use only keyed hashes of them: HMAC-SHA256
with the secret key of the home, over the plain SHA-256. So the SHA-256 lists of partners match
after their hashes are keyed as well, and a reader of the warehouse can reverse no hash by trying.
"""

from collections.abc import Callable
from functools import partial

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
    sql = f"""
        select
            keyed_hash(sha256({normalise_id_sql("buyer_id")})) as buyer_sha256,
            keyed_hash(sha256({normalise_id_sql("seller_id")})) as seller_sha256
        from received
    """
    return query_rows(connection, sql, rows)


def _derive_leads(connection: duckdb.DuckDBPyConnection, rows: pa.Table, zone: str) -> pa.Table:
    normalised = query_rows(connection, _NORMALISED, rows)
    checked = (
        rows.select(["channel_id", "lead_id", "captured_at", "birth_date", "id_type"])
        .append_column("id", normalised["id"])
        .append_column("phone", normalised["phone"])
        .append_column("is_id_valid", _check_ids(connection, rows["id_type"], normalised["id"]))
        .append_column("owner_id", normalised["owner_id"])
        .append_column(
            "is_owner_id_valid",
            _check_ids(connection, rows["owner_id_type"], normalised["owner_id"]),
        )
    )
    present = query_rows(connection, _COUNTRY_CODES, normalised)["code"].to_pylist()
    codes = tuple(sorted(int(code) for code in present))
    return query_rows(connection, _leads_sql(codes, zone), checked)


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
        ),
        checked as (
            select id, substr(id, 1, 10) as county_and_year
            from shaped
            where substr('{RESIDENT_CHECKS}', ({sums}) % 11 + 1, 1) = substr(id, 18, 1)
                and substr(id, 7, 4) != '0000'
                and try_strptime(substr(id, 7, 8), '%Y%m%d') is not null
        )
        select id, min(id) over (partition by county_and_year) as example from checked
    """
    checked = query_rows(connection, sql, pa.table({"id": numbers}))
    valid = _select_valid(ric.is_valid, pc.unique(checked["example"]))
    return checked["id"].filter(pc.is_in(checked["example"], value_set=valid)).combine_chunks()


def normalise_id_sql(column: str) -> str:
    """Return SQL of a normalised identity number: capitals, no spaces and hyphens."""
    return f"nullif(upper(regexp_replace({column}, '[\\s-]', '', 'g')), '')"


def normalise_phone_sql(column: str) -> str:
    """Return SQL of a phone without punctuation."""
    return f"nullif(regexp_replace({column}, '[\\s().-]', '', 'g'), '')"


_NORMALISED = f"""
    select
        {normalise_id_sql("id_number")} as id,
        {normalise_phone_sql("phone")} as phone,
        {normalise_id_sql("owner_id_number")} as owner_id
    from received
"""


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

_COUNTRY_CODES = f"""
    select distinct regexp_extract(phone, '{country_code_pattern()}', 1) as code
    from received
    where regexp_matches(phone, '{country_code_pattern()}')
"""


def _leads_sql(codes: tuple[int, ...], zone: str) -> str:
    return f"""
        with checked as (
            select
                *,
                case when phone is not null then {is_phone_valid_sql("phone", codes)} end
                    as is_phone_valid,
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
            keyed_hash(sha256(id)) as id_number_sha256,
            keyed_hash(sha256(phone)) as phone_sha256,
            is_id_valid,
            is_phone_valid,
            keyed_hash(sha256(
                case
                    when is_id_valid then 'id_number|' || id
                    when is_phone_valid then 'phone|' || phone
                    else 'lead|' || channel_id || '/' || lead_id
                end
            )) as person_key,
            case when age between 0 and {MAX_AGE} then age end as age_years,
            keyed_hash(sha256(owner_id)) as owner_id_number_sha256,
            is_owner_id_valid
        from aged
    """
