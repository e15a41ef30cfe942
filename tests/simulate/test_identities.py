"""Invented numbers pass every check that real numbers pass."""

import numpy as np
import phonenumbers
from stdnum.cn import ric, uscc

from pipelines.simulate.keyed_random import KeyedRandom
from pipelines.simulate.population import firms, identities, people
from pipelines.simulate.world import REGION_CODES, REGION_INCOME, REGION_POPULATION, REGIONS


def test_the_tables_of_regions_have_one_length():
    assert REGION_CODES.size == REGIONS.size == 29
    assert REGION_POPULATION.size == REGION_INCOME.size == 29


def test_resident_numbers_are_valid_and_hold_the_birth_date():
    described = people.generate_people(KeyedRandom(5), np.arange(3000))
    columns = people.identity_columns(KeyedRandom(5), described)
    assert all(ric.is_valid(number) for number in columns["id_number"])
    born = [str(ric.get_birth_date(number)) for number in columns["id_number"]]
    assert born == [str(date) for date in described.birth]
    is_man = [int(number[16]) % 2 == 1 for number in columns["id_number"]]
    assert is_man == (columns["gender"] == "male").tolist()


def test_credit_codes_are_valid_and_distinct():
    described = firms.generate_firms(KeyedRandom(5), np.arange(3000))
    codes = firms.identity_columns(KeyedRandom(5), described)["id_number"]
    assert all(uscc.is_valid(code) for code in codes)
    assert len(set(codes)) == 3000


def test_phones_are_possible_numbers_and_distinct():
    owners = np.concatenate([np.arange(2000), identities.HUNDRED_MILLION - 1 - np.arange(2000)])
    numbers = identities.phones(owners).astype(str)
    assert len(set(numbers)) == owners.size
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(number)) for number in numbers)
