"""Who a row is about: identity numbers, phones and persons, as columns that ingest derives.

Normalised means: an identity number in capitals without spaces and hyphens; a phone in E.164,
without spaces, hyphens, dots and brackets. Only hashes of them are needed further on.
"""

from collections.abc import Callable

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from stdnum.cn import ric, uscc
from stdnum.us import ein

from expectations.contracts import Contract
from pipelines.ingest.phones import country_code_pattern, is_phone_valid_sql
from pipelines.ingest.text import query

CHECKS: dict[str, Callable[[str], bool]] = {
    "prc_resident_id": ric.is_valid,
    "prc_uscc": uscc.is_valid,
    "us_ein": ein.is_valid,
}
"""What judges an identity number of each type; the types are those of the leads contract."""

OLDEST = 130
"""Years; a greater or negative age comes from a wrong date and is left empty."""


def with_derived(
    connection: duckdb.DuckDBPyConnection, contract: Contract, rows: pa.Table, zone: str
) -> pa.Table:
    """Return `rows` with the columns that `contract` derives, in its order.

    Args:
        rows: Typed rows with the source column.
        zone: The platform's time zone; an age is that on the date of capture there.
    """
    derive = {"leads": _of_leads, "supply_links": _of_supply_links}.get(contract.feed)
    if derive is None:
        return rows
    derived = derive(connection, rows, zone)
    for column in contract.derived:
        rows = rows.append_column(column.name, derived[column.name].cast(column.arrow_type))
    return rows


def _of_supply_links(connection: duckdb.DuckDBPyConnection, rows: pa.Table, _zone: str) -> pa.Table:
    sql = f"""
        select
            sha256({_normalised_id("buyer_id")}) as buyer_sha256,
            sha256({_normalised_id("seller_id")}) as seller_sha256
        from received
    """
    return query(connection, sql, rows)


def _of_leads(connection: duckdb.DuckDBPyConnection, rows: pa.Table, zone: str) -> pa.Table:
    normalised = query(connection, _NORMALISED, rows)
    checked = (
        rows.select(["channel_id", "lead_id", "captured_at", "birth_date", "id_type"])
        .append_column("id", normalised["id"])
        .append_column("phone", normalised["phone"])
        .append_column("is_id_valid", _ids_valid(rows["id_type"], normalised["id"]))
    )
    present = query(connection, _COUNTRY_CODES, normalised)["code"].to_pylist()
    codes = tuple(sorted(int(code) for code in present))
    return query(connection, _leads_sql(codes, zone), checked)


def _ids_valid(types: pa.ChunkedArray, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return whether each number is valid of its type; null without a number or a type."""
    valid = pa.nulls(len(ids), pa.bool_())
    for id_type, is_valid in CHECKS.items():
        unique = pc.unique(ids.filter(pc.equal(types, id_type))).drop_null()
        accepted = pa.array(
            [number for number in unique.to_pylist() if is_valid(number)], pa.string()
        )
        is_judged = pc.and_(pc.equal(types, id_type), pc.is_valid(ids))
        valid = pc.if_else(
            pc.fill_null(is_judged, fill_value=False), pc.is_in(ids, accepted), valid
        )
    return valid


def _normalised_id(column: str) -> str:
    return f"nullif(upper(regexp_replace({column}, '[\\s-]', '', 'g')), '')"


_NORMALISED = f"""
    select
        {_normalised_id("id_number")} as id,
        nullif(regexp_replace(phone, '[\\s().-]', '', 'g'), '') as phone
    from received
"""

_COUNTRY_CODES = f"""
    select distinct regexp_extract(phone, '{country_code_pattern()}', 1) as code
    from received
    where regexp_matches(phone, '{country_code_pattern()}')
"""


def _leads_sql(codes: tuple[int, ...], zone: str) -> str:
    return f"""
        with judged as (
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
            from judged
        )

        select
            sha256(id) as id_number_sha256,
            sha256(phone) as phone_sha256,
            is_id_valid,
            is_phone_valid,
            sha256(
                case
                    when is_id_valid then 'id_number|' || id
                    when is_phone_valid then 'phone|' || phone
                    else 'lead|' || channel_id || '/' || lead_id
                end
            ) as person_key,
            case when age between 0 and {OLDEST} then age end as age_years
        from aged
    """
