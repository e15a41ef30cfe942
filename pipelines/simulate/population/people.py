"""People: identity, income and debt, and the loans that they request."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.simulate.keyed_random import KeyedRandom, rounded_exp, rounded_sigmoid
from pipelines.simulate.population import identities
from pipelines.simulate.world import REGION_INCOME, REGION_POPULATION, Columns

EMPLOYMENT = np.array(["employed", "self_employed", "retired", "student", "unemployed", "other"])
SELF_EMPLOYED, RETIRED, STUDENT, UNEMPLOYED = 1, 2, 3, 4
HOUSING = np.array(["own", "mortgage", "rent", "family", "other"])
ETHNICITY = np.array(["han", "zhuang", "hui", "manchu", "uyghur", "miao", "other"])
PURPOSES = np.array(["consumption", "renovation", "education", "medical", "vehicle", "turnover"])
TERMS = np.array([3, 6, 12, 24, 36])
FIRST_BIRTH, BIRTH_DAYS = np.datetime64("1964-01-01"), 14_900  # until the autumn of 2004
BUREAU_COUNTS = ("past_due_30", "past_due_90", "inquiries_6m", "oldest_account_months")
BUREAU_COLUMNS = ("card_utilisation", *BUREAU_COUNTS, "employment_months", "contactability")
"""Lead columns that `bureau_history` fills; no draw of another column depends on them."""
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


def bureau_history(random: KeyedRandom, people: People) -> Columns:
    """Return what a bureau and an employer would report of people; it reveals their stability.

    Each column is a noisy view of the trait by which loans are repaid, as the bureau score is; a
    thin file has no history. The traits, and so the truth, are the same without these columns.
    """
    number, stability = people.number, people.stability
    has_file = ~np.isnan(people.score)
    use = rounded_sigmoid(-0.6 - 0.8 * stability + 0.9 * random.normal("card use", number))
    slips = rounded_exp(-1.2 - 0.8 * stability + 0.7 * random.normal("late payments", number))
    serious = rounded_exp(-2.2 - 1.0 * stability + 0.8 * random.normal("very late", number))
    asked = rounded_exp(0.3 - 0.4 * stability + 0.7 * random.normal("inquiries", number))
    years = np.maximum(people.age - 20, 0) * random.uniform("first account", number)
    tenure = np.maximum(people.age - 21, 0) * random.uniform("tenure", number) ** 2
    has_work = np.isin(people.employment, (0, SELF_EMPLOYED))
    answered = rounded_sigmoid(0.8 + 0.4 * stability + random.normal("answers", number))
    history = {
        "card_utilisation": np.round(use, 2),
        "past_due_30": np.minimum(np.floor(slips), 95),
        "past_due_90": np.minimum(np.floor(serious), 95),
        "inquiries_6m": np.minimum(np.floor(asked), 95),
        "oldest_account_months": np.floor(12 * years),
    }
    return {name: np.where(has_file, values, np.nan) for name, values in history.items()} | {
        "employment_months": np.where(has_work, np.floor(12 * tenure), np.nan),
        "contactability": np.round(answered, 1),
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
