"""Split the rows of a foreign file by feed: one table of text for each feed."""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from expectations import contracts
from expectations.mapping import LoadedMapping
from expectations.mapping_types import Route, Value
from expectations.yaml_lines import KeyPath
from pipelines.core.errors import ImportRejected
from pipelines.importing.mapping_sql import literal, quote, value_sql

SOURCE = r"^[a-z0-9][a-z0-9_-]{0,63}$"


@dataclass(frozen=True)
class DateWindow:
    """The first and last landing date to write, as ISO dates; None is open."""

    first: str | None
    last: str | None

    def contains_sql(self, date: str) -> str:
        """Return the SQL condition that `date` is in the window."""
        ends = [f"{date} >= date '{self.first}'"] if self.first else []
        ends += [f"{date} <= date '{self.last}'"] if self.last else []
        return " and ".join(ends) or "true"


@dataclass(frozen=True)
class FeedSplitter:
    """Splits one foreign file by feed, in the tables of `connection`."""

    connection: duckdb.DuckDBPyConnection
    loaded: LoadedMapping
    names: list[str]
    """The columns of the file."""
    window: DateWindow

    def prepare_rows(self) -> None:
        """Turn `received` into `prepared`, with `row_sha256` and the columns of `define`.

        `row_sha256` is over the row's texts by column name, so that it does not depend on the
        order of the file's rows and columns.
        """
        texts = [
            f"coalesce(cast({quote(name)} as varchar), chr(30))" for name in sorted(self.names)
        ]
        rows = (
            f"select *, sha256(concat_ws(chr(31), {', '.join(texts)})) as row_sha256 from received"
        )
        names = [*self.names, "row_line", "row_sha256"]
        defined: dict[str, str] = {}
        for name, expression in self.loaded.mapping.define.items():
            if name.lower() in map(str.lower, names):
                problem = "the file has a column of this name (SQL ignores case)"
                raise self._reject(("define", name), problem)
            names.append(name)
            rows = f"select *, ({expression}) as {quote(name)} from ({rows})"
            defined[name] = rows
            self._check(("define", name), f"{rows} limit 0")
        try:
            self._run(f"create table prepared as {rows}")
        except duckdb.Error as error:
            for name, query in defined.items():
                self._check(("define", name), f"select max({quote(name)}) from ({query})")
            raise self._reject_sql(("define",), error) from None
        self._run("drop table received")

    def fill_route(self, number: int) -> dict[str, int]:
        """Add the rows of route `number` to its feed's table and to `quarantined`.

        Returns:
            Counts of rows: `received` for this route = `written` + `outside` the window +
            `merged` (into another row of the same `one_per`) + `quarantined`.
        """
        route = self.loaded.mapping.routes[number]
        self._check_names(number, route)
        try:
            self._run(f"create or replace table routed as {self._route_sql(number, route)}")
        except duckdb.Error as error:
            raise self._find_error(number, route, error) from None
        columns = ", ".join(map(quote, contracts.load(route.feed).names))
        self._run(
            f"insert into {quote(route.feed)} select source, landed, {columns} from routed"
            " where disposition = 'written'"
        )
        received = ", ".join(f"{literal(name)}: prepared.{quote(name)}" for name in self.names)
        self._run(
            f"insert into quarantined select row_line, {literal(route.feed)}, disposition,"
            " 'has no usable ' || disposition || case disposition when 'source' then"
            f" {literal(f', whose name matches {SOURCE}')} else '' end, to_json({{{received}}})"
            " from routed join prepared on prepared.rowid = routed.row"
            " where disposition in ('source', 'date')"
        )
        query = "select disposition, count(*) from routed group by disposition"
        counts = dict(self._run(query).fetchall())
        quarantined = counts.get("source", 0) + counts.get("date", 0)
        routed = {name: counts.get(name, 0) for name in ("written", "outside", "merged")}
        received = sum(routed.values()) + quarantined
        return routed | {"received": received, "quarantined": quarantined}

    def _route_sql(self, number: int, route: Route) -> str:
        """Return the SQL of the rows that meet the route's condition, each with its disposition.

        Every value is text, except `landed`, the date of the folder.
        """
        values = [
            f"{sql} as {quote(name)}" for name, (_, sql) in self._values(number, route).items()
        ]
        group = [f"{quote(name)} as {quote(f'group {name}')}" for name in route.one_per]
        group_by = ", ".join(["defect", *(quote(f"group {name}") for name in route.one_per)])
        rank = f"row_number() over (partition by {group_by} order by row_sha256)"
        return f"""
            with routed as (
                select rowid as row, row_sha256, {", ".join([*values, *group])}
                from prepared
                where {route.where or "true"}
            ),
            dated as (select *, try_cast(landing_date as date) as landed from routed),
            checked as (
                select
                    *,
                    case
                        when not coalesce(regexp_matches(source, '{SOURCE}'), false) then 'source'
                        when landed is null then 'date'
                    end as defect
                from dated
            ),
            ranked as (select *, {rank if route.one_per else 1} as rank from checked)
            select
                * exclude (defect, rank, row_sha256, landing_date),
                case
                    when defect is not null then defect
                    when rank > 1 then 'merged'
                    when {"true" if route.date.is_constant else self.window.contains_sql("landed")}
                        then 'written'
                    else 'outside'
                end as disposition
            from ranked
        """

    def _values(self, number: int, route: Route) -> dict[str, tuple[KeyPath, str]]:
        """Return output name -> its key in the mapping and its SQL."""
        key: KeyPath = ("routes", number)
        missing = self.loaded.mapping.missing
        values = {
            "source": ((*key, "source"), value_sql(route.source, "text", missing)),
            "landing_date": ((*key, "date"), value_sql(route.date, "date", missing)),
        }
        for column in contracts.load(route.feed).columns:
            value = route.columns.get(column.name)
            sql = value_sql(value, column.type, missing) if value else "cast(null as varchar)"
            values[column.name] = ((*key, "columns", column.name), sql)
        return values

    def _check_names(self, number: int, route: Route) -> None:
        known = set(self.connection.table("prepared").columns)
        for key, names in _list_references(number, route):
            if unknown := [name for name in names if name not in known]:
                listed = ", ".join([*self.names, *self.loaded.mapping.define])
                raise self._reject(key, f"no column is named {unknown[0]!r}; there are: {listed}")

    def _find_error(self, number: int, route: Route, error: duckdb.Error) -> ImportRejected:
        """Return the error of the first expression of the route that fails by itself."""
        condition = route.where or "true"
        statements: dict[KeyPath, str] = {
            ("routes", number, "where"): f"select count(*) from prepared where {condition}"
        }
        for key, sql in self._values(number, route).values():
            statements[key] = f"select max({sql}) from prepared where {condition}"
        for key, statement in statements.items():
            try:
                self._run(statement)
            except duckdb.Error as cause:
                return self._reject_sql(key, cause)
        return self._reject_sql(("routes", number), error)

    def _check(self, key: KeyPath, statement: str) -> None:
        try:
            self._run(statement)
        except duckdb.Error as error:
            raise self._reject_sql(key, error) from None

    def _reject_sql(self, key: KeyPath, error: duckdb.Error) -> ImportRejected:
        return self._reject(key, str(error).splitlines()[0])

    def _reject(self, key: KeyPath, problem: str) -> ImportRejected:
        return ImportRejected(f"{self.loaded.make_error(key, problem)}. Nothing was written.")

    def _run(self, statement: str) -> duckdb.DuckDBPyConnection:
        return self.connection.execute(statement)


def _list_references(number: int, route: Route) -> Iterator[tuple[KeyPath, tuple[str, ...]]]:
    """Yield each key of a route that names columns of the file, with the names."""
    key: KeyPath = ("routes", number)
    values: list[tuple[KeyPath, Value]] = [
        ((*key, "source"), route.source),
        ((*key, "date"), route.date),
        *(((*key, "columns", name), value) for name, value in route.columns.items()),
    ]
    yield from (((*at, "from"), value.from_) for at, value in values)
    yield (*key, "one_per"), route.one_per
