"""People: who they are, what they earn and owe, and what they ask for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.simulate.keyed_random import Chance, exp
from pipelines.simulate.population import identities
from pipelines.simulate.world import PEOPLE, WEALTH, Columns

EMPLOYMENT = np.array(["employed", "self_employed", "retired", "student", "unemployed", "other"])
SELF_EMPLOYED, RETIRED, STUDENT, UNEMPLOYED = 1, 2, 3, 4
HOUSING = np.array(["own", "mortgage", "rent", "family", "other"])
ETHNICITY = np.array(["han", "zhuang", "hui", "manchu", "uyghur", "miao", "other"])
PURPOSES = np.array(["consumption", "renovation", "education", "medical", "vehicle", "turnover"])
TERMS = np.array([3, 6, 12, 24, 36])
FIRST_BIRTH, BIRTHS = np.datetime64("1964-01-01"), 14_900  # until the autumn of 2004
SURVEYED = np.datetime64("2026-01-01")
"""When ages count for who works and what one earns; nobody grows older in a simulated season."""


@dataclass(frozen=True)
class People:
    """Columns of people, each of the same length; NaN is unknown to everyone but the person."""

    number: IntArray
    region: IntArray
    birth: NDArray[np.datetime64]
    sequence: IntArray
    age: FloatArray
    employment: IntArray
    housing: IntArray
    income: FloatArray
    debt: FloatArray
    score: FloatArray
    stability: FloatArray
    """How reliably a person pays; the bureau score shows it with noise."""
    hidden: FloatArray
    """What no column shows, and every lender finds out in part."""


def stability(chance: Chance, number: IntArray) -> FloatArray:
    """Return the trait that channels select for; standard normal."""
    return chance.normal("stability", number)


def papers(chance: Chance, number: IntArray) -> tuple[IntArray, NDArray[np.datetime64], IntArray]:
    """Return region, date of birth and sequence: what a resident number is made of."""
    early = np.round(chance.uniform("birth", number) ** 0.8, 9)
    return (
        chance.choice("region", PEOPLE.tolist(), number),
        FIRST_BIRTH + np.floor(BIRTHS * early).astype(int),
        chance.below("sequence", 1000, number),
    )


def people(chance: Chance, number: IntArray) -> People:
    """Return the people of these numbers."""
    region, birth, sequence = papers(chance, number)
    age = np.floor((SURVEYED - birth).astype(np.int64) / 365.2425)
    steady = stability(chance, number)
    able = 0.4 * steady + 0.9165 * chance.normal("ability", number)
    employment = _employment(chance, number, age)
    work = np.array([0.0, 0.05, -0.5, -1.3, -1.0, -0.3])[employment]
    peak = -0.0012 * (age - 42) ** 2
    income = np.round(exp(8.95 + 0.45 * able + 0.2 * WEALTH[region] + peak + work), -2)
    share = np.clip(0.22 - 0.08 * steady + 0.11 * chance.normal("debt", number), 0, 0.95)
    score = np.round(650 + 55 * steady + 15 * able + 18 * chance.normal("score", number))
    thin = chance.uniform("thin file", number) < np.where(age < 25, 0.40, 0.14)
    return People(
        number=number,
        region=region,
        birth=birth,
        sequence=sequence,
        age=age,
        employment=employment,
        housing=_housing(chance, number, age + 6 * able),
        income=income,
        debt=np.round(income * share, -1),
        score=np.where(thin, np.nan, np.clip(score, 350, 900)),
        stability=steady,
        hidden=chance.normal("hidden", number),
    )


def identity(chance: Chance, who: People) -> Columns:
    """Return the columns of a lead that say who a person is."""
    ethnicity = chance.choice("ethnicity", [91, 1.4, 0.8, 0.7, 0.8, 0.8, 4.5], who.number)
    return {
        "full_name": identities.names(chance, who.number),
        "id_type": np.full(who.number.size, "prc_resident_id"),
        "id_number": identities.resident_ids(who.region, who.birth, who.sequence).astype(np.str_),
        "phone": identities.phones(who.number).astype(np.str_),
        "birth_date": who.birth,
        # The number's last digit but one is odd for men.
        "gender": np.where(who.sequence % 2 == 1, "male", "female"),
        "ethnicity": ETHNICITY[ethnicity],
    }


def needs(chance: Chance, who: People, request: tuple[IntArray, IntArray]) -> Columns:
    """Return what people ask for in these requests (day and position)."""
    months = exp(-0.2 + 0.5 * chance.normal("need", *request))
    amount = np.clip(np.round(who.income * months, -2), 1_000, 100_000)
    longer = np.clip(np.floor(amount / 15_000), 0, 1)
    term = np.clip(chance.choice("term", [10, 20, 40, 20, 10], *request) + longer, 0, 4)
    return {
        "amount": amount,
        "term_months": TERMS[term.astype(np.int64)],
        "purpose": PURPOSES[chance.choice("purpose", [40, 15, 8, 6, 11, 20], *request)],
    }


def _employment(chance: Chance, number: IntArray, age: FloatArray) -> IntArray:
    usual = chance.choice("employment", [64, 22, 0, 0, 6, 8], number)
    u = chance.uniform("employment by age", number)
    studies = (age < 24) & (u < 0.45)
    rests = (age >= 55) & (u < 0.5)
    return np.select([studies, rests], [STUDENT, RETIRED], usual)


def _housing(chance: Chance, number: IntArray, standing: FloatArray) -> IntArray:
    u = chance.uniform("housing", number)
    owns = np.clip((standing - 22) / 60, 0.02, 0.6)
    pays_off = np.clip((standing - 20) / 90, 0.02, 0.3)
    rents = owns + pays_off + 0.3
    return np.select([u < owns, u < owns + pays_off, u < rents, u < 0.97], [0, 1, 2, 3], 4)
