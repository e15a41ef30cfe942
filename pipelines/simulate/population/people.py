"""People: identity, income and debt, and the loans that they request."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.simulate.keyed_random import KeyedRandom, rounded_exp
from pipelines.simulate.population import identities
from pipelines.simulate.world import REGION_INCOME, REGION_POPULATION, Columns

EMPLOYMENT = np.array(["employed", "self_employed", "retired", "student", "unemployed", "other"])
SELF_EMPLOYED, RETIRED, STUDENT, UNEMPLOYED = 1, 2, 3, 4
HOUSING = np.array(["own", "mortgage", "rent", "family", "other"])
ETHNICITY = np.array(["han", "zhuang", "hui", "manchu", "uyghur", "miao", "other"])
PURPOSES = np.array(["consumption", "renovation", "education", "medical", "vehicle", "turnover"])
TERMS = np.array([3, 6, 12, 24, 36])
FIRST_BIRTH, BIRTH_DAYS = np.datetime64("1964-01-01"), 14_900  # until the autumn of 2004
AGE_REFERENCE = np.datetime64("2026-01-01")
"""The day of which ages decide employment and income; ages are constant within a simulation."""


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
    """Reliability of payment; the bureau score shows it with noise."""
    hidden: FloatArray
    """A trait that no column shows and each lender observes in part."""


def person_stability(random: KeyedRandom, number: IntArray) -> FloatArray:
    """Return the trait by which channels select people; standard normal."""
    return random.normal("stability", number)


def identity_parts(
    random: KeyedRandom, number: IntArray
) -> tuple[IntArray, NDArray[np.datetime64], IntArray]:
    """Return region, date of birth and sequence: the parts of a resident number."""
    early = np.round(random.uniform("birth", number) ** 0.8, 9)
    return (
        random.choice("region", REGION_POPULATION.tolist(), number),
        FIRST_BIRTH + np.floor(BIRTH_DAYS * early).astype(int),
        random.integers("sequence", 1000, number),
    )


def generate_people(random: KeyedRandom, number: IntArray) -> People:
    """Return the people of these numbers."""
    region, birth, sequence = identity_parts(random, number)
    age = np.floor((AGE_REFERENCE - birth).astype(np.int64) / 365.2425)
    stability = person_stability(random, number)
    ability = 0.4 * stability + 0.9165 * random.normal("ability", number)
    employment = _employment(random, number, age)
    work = np.array([0.0, 0.05, -0.5, -1.3, -1.0, -0.3])[employment]
    peak = -0.0012 * (age - 42) ** 2
    log_income = 8.95 + 0.45 * ability + 0.2 * REGION_INCOME[region] + peak + work
    income = np.round(rounded_exp(log_income), -2)
    share = np.clip(0.22 - 0.08 * stability + 0.11 * random.normal("debt", number), 0, 0.95)
    score = np.round(650 + 55 * stability + 15 * ability + 18 * random.normal("score", number))
    has_thin_file = random.uniform("thin file", number) < np.where(age < 25, 0.40, 0.14)
    return People(
        number=number,
        region=region,
        birth=birth,
        sequence=sequence,
        age=age,
        employment=employment,
        housing=_housing(random, number, age + 6 * ability),
        income=income,
        debt=np.round(income * share, -1),
        score=np.where(has_thin_file, np.nan, np.clip(score, 350, 900)),
        stability=stability,
        hidden=random.normal("hidden", number),
    )


def identity_columns(random: KeyedRandom, people: People) -> Columns:
    """Return the lead columns that identify a person."""
    ethnicity = random.choice("ethnicity", [91, 1.4, 0.8, 0.7, 0.8, 0.8, 4.5], people.number)
    resident_numbers = identities.resident_numbers(people.region, people.birth, people.sequence)
    return {
        "full_name": identities.person_names(random, people.number),
        "id_type": np.full(people.number.size, "prc_resident_id"),
        "id_number": resident_numbers.astype(np.str_),
        "phone": identities.phones(people.number).astype(np.str_),
        "birth_date": people.birth,
        # The last digit but one of a resident number is odd for men.
        "gender": np.where(people.sequence % 2 == 1, "male", "female"),
        "ethnicity": ETHNICITY[ethnicity],
    }


def loan_request(
    random: KeyedRandom, people: People, address: tuple[IntArray, IntArray]
) -> Columns:
    """Return amount, term and purpose of the leads at `address` (day and number)."""
    months = rounded_exp(-0.2 + 0.5 * random.normal("need", *address))
    amount = np.clip(np.round(people.income * months, -2), 1_000, 100_000)
    longer = np.clip(np.floor(amount / 15_000), 0, 1)
    term = np.clip(random.choice("term", [10, 20, 40, 20, 10], *address) + longer, 0, 4)
    return {
        "amount": amount,
        "term_months": TERMS[term.astype(np.int64)],
        "purpose": PURPOSES[random.choice("purpose", [40, 15, 8, 6, 11, 20], *address)],
    }


def _employment(random: KeyedRandom, number: IntArray, age: FloatArray) -> IntArray:
    usual = random.choice("employment", [64, 22, 0, 0, 6, 8], number)
    uniform = random.uniform("employment by age", number)
    is_student = (age < 24) & (uniform < 0.45)
    is_retired = (age >= 55) & (uniform < 0.5)
    return np.select([is_student, is_retired], [STUDENT, RETIRED], usual)


def _housing(random: KeyedRandom, number: IntArray, wealth: FloatArray) -> IntArray:
    uniform = random.uniform("housing", number)
    own = np.clip((wealth - 22) / 60, 0.02, 0.6)
    mortgage = np.clip((wealth - 20) / 90, 0.02, 0.3)
    rent = own + mortgage + 0.3
    conditions = [uniform < own, uniform < own + mortgage, uniform < rent, uniform < 0.97]
    return np.select(conditions, [0, 1, 2, 3], 4)
