"""The values of a mapping as SQL; each evaluates to text, as in a feed file."""

from collections.abc import Iterable

from expectations.mapping_types import Value

TIMES = "%Y-%m-%dT%H:%M:%S.%fZ"


def value_sql(value: Value, kind: str, missing: Iterable[str]) -> str:
    """Return the SQL of `value` for a contract column of type `kind`, as text.

    Args:
        value: The value in the mapping.
        kind: The contract's type of the column: text, list, integer, number, boolean, date or
            timestamp.
        missing: Texts that mean empty in every column of the mapping.
    """
    if value.expression is not None:
        text = _expression_sql(value.expression, kind)
    elif value.from_:
        text = _convert_sql(value, kind, _join_sql(value, [*missing, *value.missing]))
    else:
        return literal(value.default or "")
    return text if value.default is None else f"coalesce({text}, {literal(value.default)})"


def quote(name: str) -> str:
    """Return `name` as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as a SQL string."""
    return "'" + text.replace("'", "''") + "'"


def _join_sql(value: Value, missing: list[str]) -> str:
    sources = [_source_sql(name, value, missing) for name in value.from_]
    if len(sources) == 1:
        return sources[0]
    return f"nullif(concat_ws({literal(value.separator)}, {', '.join(sources)}), '')"


def _source_sql(name: str, value: Value, missing: list[str]) -> str:
    text = f"trim(cast({quote(name)} as varchar))"
    empties = ", ".join(literal(item) for item in ["", *missing])
    branches = [f"when {text} in ({empties}) then null"]
    branches += [
        f"when {text} = {literal(old)} then nullif({literal(new)}, '')"
        for old, new in value.values.items()
    ]
    return f"case {' '.join(branches)} else {text} end"


def _convert_sql(value: Value, kind: str, text: str) -> str:
    """Return SQL that converts `text`; inconvertible text is unchanged, and ingest checks it."""
    if value.scale is not None:
        number = f"try_cast({text} as double) * {value.scale.numerator} / {value.scale.denominator}"
        return f"coalesce({_number_sql(number)}, {text})"
    if value.format:
        return f"coalesce({_moment_sql(value, kind, text)}, {text})"
    if kind == "timestamp":
        # A native timestamp has its offset, but its text is not ISO 8601.
        moment = _utc_sql(f"try_cast({text} as timestamptz)")
        return f"if(typeof({quote(value.from_[0])}) = 'TIMESTAMP WITH TIME ZONE', {moment}, {text})"
    return text


def _moment_sql(value: Value, kind: str, text: str) -> str:
    patterns = ", ".join(literal(pattern) for pattern in value.format)
    moment = f"try_strptime({text}, [{patterns}])"
    if value.pivot is not None:
        # DuckDB reads %y from 69 on as 19yy; the mapping sets its own pivot.
        year = f"year({moment}) % 100"
        century = f"if({year} >= {value.pivot}, 1900, 2000)"
        moment = f"{moment} + to_years(cast({century} + {year} - year({moment}) as integer))"
    if kind == "date":
        return f"strftime({moment}, '%Y-%m-%d')"
    if not any("%z" in pattern for pattern in value.format):
        moment = f"timezone({literal(value.zone)}, {moment})"
    return _utc_sql(moment)


def _expression_sql(expression: str, kind: str) -> str:
    text = f"nullif(cast(({expression}) as varchar), '')"
    if kind == "timestamp":
        return f"coalesce({_utc_sql(f'try_cast(({expression}) as timestamptz)')}, {text})"
    if kind in {"integer", "number"}:
        return f"coalesce({_number_sql(f'try_cast(({expression}) as double)')}, {text})"
    return text


def _number_sql(number: str) -> str:
    """Return SQL of the text of a double; a whole number has no point, as integers need."""
    whole = f"try_cast({number} as bigint)"
    return f"if({number} = {whole}, cast({whole} as varchar), cast({number} as varchar))"


def _utc_sql(moment: str) -> str:
    return f"strftime(timezone('UTC', {moment}), '{TIMES}')"
