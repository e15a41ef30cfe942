"""Invented numbers pass every check that real ones pass."""

import numpy as np
import phonenumbers
from stdnum.cn import ric, uscc

from pipelines.simulate.keyed_random import Chance
from pipelines.simulate.population import firms, identities, people
from pipelines.simulate.world import PEOPLE, PLACES, REGIONS, WEALTH


def test_the_tables_of_regions_are_of_one_length():
    assert PLACES.size == REGIONS.size == PEOPLE.size == WEALTH.size == 29


def test_resident_numbers_are_valid_and_hold_the_birth_date():
    who = people.people(Chance(5), np.arange(3000))
    columns = people.identity(Chance(5), who)
    assert all(ric.is_valid(number) for number in columns["id_number"])
    born = [str(ric.get_birth_date(number)) for number in columns["id_number"]]
    assert born == [str(date) for date in who.birth]
    is_man = [int(number[16]) % 2 == 1 for number in columns["id_number"]]
    assert is_man == (columns["gender"] == "male").tolist()


def test_credit_codes_are_valid_and_each_firm_has_its_own():
    who = firms.firms(Chance(5), np.arange(3000))
    codes = firms.identity(Chance(5), who)["id_number"]
    assert all(uscc.is_valid(code) for code in codes)
    assert len(set(codes)) == 3000


def test_phones_are_possible_numbers_and_nobody_shares_one():
    owners = np.concatenate([np.arange(2000), identities.HUNDRED_MILLION - 1 - np.arange(2000)])
    numbers = identities.phones(owners).astype(str)
    assert len(set(numbers)) == owners.size
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(number)) for number in numbers)
