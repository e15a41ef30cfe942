"""Lead the rows of a foreign file to their feeds: one table of texts for each feed."""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from expectations import contracts
from expectations.mapping import LoadedMapping
from expectations.mapping_types import Route, Value
from expectations.yaml_lines import Place
from pipelines.core.errors import ImportRejected
from pipelines.importing.mapping_sql import literal, quote, value_sql

SOURCE = r"^[a-z0-9][a-z0-9_-]{0,63}$"


@dataclass(frozen=True)
class Window:
    """The landing dates that were asked for, as ISO dates, both included; None is open."""

    first: str | None
    last: str | None

    def holds(self, date: str) -> str:
        """Return the SQL condition that `date` lies within."""
        ends = [f"{date} >= date '{self.first}'"] if self.first else []
        ends += [f"{date} <= date '{self.last}'"] if self.last else []
        return " and ".join(ends) or "true"


@dataclass(frozen=True)
class Routing:
    """One foreign file on its way to the feeds, in the tables of `connection`."""

    connection: duckdb.DuckDBPyConnection
    loaded: LoadedMapping
    names: list[str]
    window: Window

    def prepare(self) -> None:
        """Turn `received` into `prepared`, with `row_sha256` and what the mapping defines.

        `row_sha256` is over the row's texts by column name, so that it is the same whatever the
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
                problem = "the file has a column of this name (SQL doesn't tell cases apart)"
                raise self._refusal(("define", name), problem)
            names.append(name)
            rows = f"select *, ({expression}) as {quote(name)} from ({rows})"
            defined[name] = rows
            self._check(("define", name), f"{rows} limit 0")
        try:
            self._run(f"create table prepared as {rows}")
        except duckdb.Error as error:
            for name, until_here in defined.items():
                self._check(("define", name), f"select max({quote(name)}) from ({until_here})")
            raise self._wrong(("define",), error) from None
        self._run("drop table received")

    def fill(self, number: int) -> dict[str, int]:
        """Add what route `number` makes of `prepared` to its feed's table and to `set_aside`.

        Returns:
            Counts of rows: `received` for this route = `written` + `outside` the window +
            `merged` (another row of the same `one_per` stands for it) + `set_aside`.
        """
        route = self.loaded.mapping.routes[number]
        self._check_names(number, route)
        try:
            self._run(f"create or replace table judged as {self._judged(number, route)}")
        except duckdb.Error as error:
            raise self._culprit(number, route, error) from None
        columns = ", ".join(map(quote, contracts.load(route.feed).names))
        self._run(
            f"insert into {quote(route.feed)} select source, landed, {columns} from judged"
            " where fate = 'written'"
        )
        sent = ", ".join(f"{literal(name)}: prepared.{quote(name)}" for name in self.names)
        self._run(
            f"insert into set_aside select row_line, {literal(route.feed)}, fate,"
            f" 'has no usable ' || fate, to_json({{{sent}}})"
            " from judged join prepared on prepared.rowid = judged.row"
            " where fate in ('source', 'date')"
        )
        fates = dict(self._run("select fate, count(*) from judged group by fate").fetchall())
        set_aside = fates.pop("source", 0) + fates.pop("date", 0)
        known = {fate: fates.get(fate, 0) for fate in ("written", "outside", "merged")}
        return known | {"received": sum(known.values()) + set_aside, "set_aside": set_aside}

    def _judged(self, number: int, route: Route) -> str:
        """Return the SQL of the rows that meet the route's condition, and of each its fate.

        Every value is text, but for `landed`, the date of the folder.
        """
        values = [
            f"{sql} as {quote(name)}" for name, (_, sql) in self._values(number, route).items()
        ]
        group = [f"{quote(name)} as {quote(f'group {name}')}" for name in route.one_per]
        of_group = ", ".join(["fault", *(quote(f"group {name}") for name in route.one_per)])
        place = f"row_number() over (partition by {of_group} order by row_sha256)"
        return f"""
            with routed as (
                select rowid as row, row_sha256, {", ".join([*values, *group])}
                from prepared
                where {route.where or "true"}
            ),
            dated as (select *, try_cast(landing_date as date) as landed from routed),
            faults as (
                select
                    *,
                    case
                        when not coalesce(regexp_matches(source, '{SOURCE}'), false) then 'source'
                        when landed is null then 'date'
                    end as fault
                from dated
            ),
            placed as (select *, {place if route.one_per else 1} as place from faults)
            select
                * exclude (fault, place, row_sha256, landing_date),
                case
                    when fault is not null then fault
                    when place > 1 then 'merged'
                    when {"true" if route.date.is_constant else self.window.holds("landed")}
                        then 'written'
                    else 'outside'
                end as fate
            from placed
        """

    def _values(self, number: int, route: Route) -> dict[str, tuple[Place, str]]:
        """Return output name -> its place in the mapping and its SQL."""
        place: Place = ("routes", number)
        missing = self.loaded.mapping.missing
        values = {
            "source": ((*place, "source"), value_sql(route.source, "text", missing)),
            "landing_date": ((*place, "date"), value_sql(route.date, "date", missing)),
        }
        for column in contracts.load(route.feed).columns:
            value = route.columns.get(column.name)
            sql = value_sql(value, column.type, missing) if value else "cast(null as varchar)"
            values[column.name] = ((*place, "columns", column.name), sql)
        return values

    def _check_names(self, number: int, route: Route) -> None:
        known = set(self.connection.table("prepared").columns)
        for place, names in _used(number, route):
            if unknown := [name for name in names if name not in known]:
                listed = ", ".join([*self.names, *self.loaded.mapping.define])
                raise self._refusal(
                    place, f"no column is named {unknown[0]!r}; there are: {listed}"
                )

    def _culprit(self, number: int, route: Route, error: duckdb.Error) -> ImportRejected:
        """Find which of the route's expressions it was."""
        condition = route.where or "true"
        tries: dict[Place, str] = {
            ("routes", number, "where"): f"select count(*) from prepared where {condition}"
        }
        for place, sql in self._values(number, route).values():
            tries[place] = f"select max({sql}) from prepared where {condition}"
        for place, statement in tries.items():
            try:
                self._run(statement)
            except duckdb.Error as found:
                return self._wrong(place, found)
        return self._wrong(("routes", number), error)

    def _check(self, place: Place, statement: str) -> None:
        try:
            self._run(statement)
        except duckdb.Error as error:
            raise self._wrong(place, error) from None

    def _wrong(self, place: Place, error: duckdb.Error) -> ImportRejected:
        return self._refusal(place, str(error).splitlines()[0])

    def _refusal(self, place: Place, problem: str) -> ImportRejected:
        return ImportRejected(f"{self.loaded.wrong(place, problem)}. Nothing was written.")

    def _run(self, statement: str) -> duckdb.DuckDBPyConnection:
        return self.connection.execute(statement)


def _used(number: int, route: Route) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Yield each place of a route that names columns of the file, with the names."""
    place: Place = ("routes", number)
    named: list[tuple[Place, Value]] = [
        ((*place, "source"), route.source),
        ((*place, "date"), route.date),
        *(((*place, "columns", name), value) for name, value in route.columns.items()),
    ]
    yield from (((*at, "from"), value.from_) for at, value in named)
    yield (*place, "one_per"), route.one_per
