"""Who asks: people and firms side by side, as a lead shows them and as a lender judges them."""

from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import BoolArray, IntArray
from pipelines.simulate.population import firms, people
from pipelines.simulate.shocks import SECTOR_FALLS
from pipelines.simulate.world import REGIONS, Columns, World


def described(
    world: World,
    day: date,
    is_firm: BoolArray,
    asker: IntArray,
    at: tuple[IntArray, IntArray],
) -> tuple[Columns, Columns]:
    """Return the feed's columns that come from the asker, and what decides about the lead."""
    chance = world.chance
    firm, person = np.flatnonzero(is_firm), np.flatnonzero(~is_firm)
    those = firms.firms(chance, asker[firm])
    if world.is_struck(SECTOR_FALLS, day):
        those = firms.fallen(those)
    them = people.people(chance, asker[person])
    firm_columns = firms.identity(chance, those) | firms.needs(
        chance, those, (at[0][firm], at[1][firm])
    )
    person_columns = people.identity(chance, them) | people.needs(
        chance, them, (at[0][person], at[1][person])
    )
    firm_columns |= {
        "region": REGIONS[those.region],
        "debt_monthly": np.round(those.debt / 12, -1),
        "bureau_score": those.score,
        "industry": firms.INDUSTRIES[those.industry],
        "established_on": those.established,
        "revenue_annual": those.revenue,
        "employees": those.employees,
        "tax_paid_annual": those.tax,
        "invoices_12m": those.invoices,
    }
    person_columns |= {
        "region": REGIONS[them.region],
        "employment": people.EMPLOYMENT[them.employment],
        "income_monthly": them.income,
        "debt_monthly": them.debt,
        "bureau_score": them.score,
        "housing": people.HOUSING[them.housing],
    }
    years = (np.datetime64(day) - those.established).astype(np.int64)
    of_firms: Columns = {
        "region": those.region,
        "industry": those.industry,
        "idle": np.zeros(firm.size, np.bool_),
        "age": np.floor(years / 365.2425),
        "income": those.revenue,
        "burden": those.debt / those.revenue * 10,
        "score": those.score,
        "stability": those.stability,
        "hidden": those.hidden,
        "buyer": firms.stability(chance, firms.buyer_of(world, those.number)),
    }
    of_people: Columns = {
        "region": them.region,
        "industry": np.zeros(person.size, np.int64),
        "idle": np.isin(them.employment, (people.STUDENT, people.UNEMPLOYED)),
        "age": them.age,
        "income": them.income,
        "burden": them.debt / np.maximum(them.income, 100),
        "score": them.score,
        "stability": them.stability,
        "hidden": them.hidden,
        "buyer": np.zeros(person.size),
    }
    return _merged(firm, firm_columns, person, person_columns), _merged(
        firm, of_firms, person, of_people
    )


def _merged(one: IntArray, of_one: Columns, two: IntArray, of_two: Columns) -> Columns:
    """Return columns over the positions of both; what only one has is missing in the other."""
    merged: Columns = {}
    for name in [*of_one, *(name for name in of_two if name not in of_one)]:
        parts = [(at, part[name]) for at, part in ((one, of_one), (two, of_two)) if name in part]
        kind = np.result_type(*(values for _, values in parts))
        if len(parts) == 1 and kind.kind == "i":
            kind = np.dtype(np.float64)
        column = np.full(one.size + two.size, nothing(np.empty(0, kind)), kind)
        for at, values in parts:
            column[at] = values
        merged[name] = column
    return merged


def nothing(column: NDArray[Any]) -> Any:
    """Return what is missing in a column of this type."""
    return {"U": "", "f": np.nan, "M": np.datetime64("NaT"), "i": 0, "b": False}[column.dtype.kind]
