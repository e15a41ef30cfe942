"""The SQL that a mapping's values stand for. Each gives text, as a feed file holds it."""

from collections.abc import Iterable

from expectations.mapping_types import Value

TIMES = "%Y-%m-%dT%H:%M:%S.%fZ"


def value_sql(value: Value, kind: str, missing: Iterable[str]) -> str:
    """Return the SQL of `value` for a contract column of type `kind`, as text.

    Args:
        value: What the mapping says.
        kind: The contract's type of the column: text, list, integer, number, boolean, date or
            timestamp.
        missing: Texts that mean empty in every column of the mapping.
    """
    if value.expression is not None:
        text = _of_expression(value.expression, kind)
    elif value.from_:
        text = _converted(value, kind, _joined(value, [*missing, *value.missing]))
    else:
        return literal(value.default or "")
    return text if value.default is None else f"coalesce({text}, {literal(value.default)})"


def quote(name: str) -> str:
    """Return `name` as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as a SQL string."""
    return "'" + text.replace("'", "''") + "'"


def _joined(value: Value, missing: list[str]) -> str:
    parts = [_part(name, value, missing) for name in value.from_]
    if len(parts) == 1:
        return parts[0]
    return f"nullif(concat_ws({literal(value.separator)}, {', '.join(parts)}), '')"


def _part(name: str, value: Value, missing: list[str]) -> str:
    text = f"trim(cast({quote(name)} as varchar))"
    empties = ", ".join(literal(item) for item in ["", *missing])
    branches = [f"when {text} in ({empties}) then null"]
    branches += [
        f"when {text} = {literal(old)} then nullif({literal(new)}, '')"
        for old, new in value.values.items()
    ]
    return f"case {' '.join(branches)} else {text} end"


def _converted(value: Value, kind: str, text: str) -> str:
    """A text that can't be converted passes as it is: ingest judges it and names the rule."""
    if value.scale is not None:
        number = f"try_cast({text} as double) * {value.scale.numerator} / {value.scale.denominator}"
        return f"coalesce({_number(number)}, {text})"
    if value.format:
        return f"coalesce({_moment(value, kind, text)}, {text})"
    if kind == "timestamp":
        # A native moment has its offset, but not in the way that ISO 8601 writes it.
        moment = _utc(f"try_cast({text} as timestamptz)")
        return f"if(typeof({quote(value.from_[0])}) = 'TIMESTAMP WITH TIME ZONE', {moment}, {text})"
    return text


def _moment(value: Value, kind: str, text: str) -> str:
    patterns = ", ".join(literal(pattern) for pattern in value.format)
    moment = f"try_strptime({text}, [{patterns}])"
    if value.pivot is not None:
        # DuckDB reads %y from 69 on as 19yy; the century asked for may be another.
        year = f"year({moment}) % 100"
        century = f"if({year} >= {value.pivot}, 1900, 2000)"
        moment = f"{moment} + to_years(cast({century} + {year} - year({moment}) as integer))"
    if kind == "date":
        return f"strftime({moment}, '%Y-%m-%d')"
    if not any("%z" in pattern for pattern in value.format):
        moment = f"timezone({literal(value.zone)}, {moment})"
    return _utc(moment)


def _of_expression(expression: str, kind: str) -> str:
    text = f"nullif(cast(({expression}) as varchar), '')"
    if kind == "timestamp":
        return f"coalesce({_utc(f'try_cast(({expression}) as timestamptz)')}, {text})"
    if kind in {"integer", "number"}:
        return f"coalesce({_number(f'try_cast(({expression}) as double)')}, {text})"
    return text


def _number(number: str) -> str:
    """A double that is whole is written without a point, as an integer column needs it."""
    whole = f"try_cast({number} as bigint)"
    return f"if({number} = {whole}, cast({whole} as varchar), cast({number} as varchar))"


def _utc(moment: str) -> str:
    return f"strftime(timezone('UTC', {moment}), '{TIMES}')"
