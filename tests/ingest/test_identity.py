"""Identity: whole columns agree with `python-stdnum` and `phonenumbers`."""

import hashlib
import random
from datetime import UTC, date, datetime

import duckdb
import phonenumbers
import pyarrow as pa
import pytest
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata
from stdnum.cn import ric, uscc

from expectations.contracts import load
from pipelines.ingest.identity import (
    CREDIT_ALPHABET,
    RESIDENT_CHECKS,
    RESIDENT_WEIGHTS,
    derive_columns,
)
from pipelines.ingest.phones import is_phone_valid_sql, list_kinds
from tests.helpers.feeds import good
from tests.helpers.identifier_key import TEST_KEY, keyed

RESIDENT = "11010519491231002X"
USCC = "91110000600037341L"
EVE = datetime(2026, 11, 20, 18, tzinfo=UTC)
CODES = (1, 44, 49, 52, 54, 55, 7, 81, 86, 91, 852, 878, 886)
"""Countries with one and with several regions, with leading digits, and a code of no country."""


def derive(feed="leads", **changes):
    return derive_all(feed, [good(feed, **changes)])[0]


def derive_all(feed, rows):
    contract = load(feed)
    table = pa.Table.from_pylist(rows, schema=contract.received_schema)
    source = pa.array(["search"] * len(rows))
    table = table.append_column(contract.source_column, source)
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    return derive_columns(connection, contract, table, "Asia/Shanghai", TEST_KEY).to_pylist()


@pytest.mark.parametrize(
    ("id_type", "number", "is_valid"),
    [
        ("prc_resident_id", RESIDENT, True),
        ("prc_resident_id", RESIDENT.lower(), True),
        ("prc_resident_id", "110105 19491231 002x", True),
        ("prc_resident_id", "110105194912310029", False),
        ("prc_resident_id", "1101051949123100", False),
        ("prc_resident_id", "\uff11\uff11\uff10105194912310021", False),
        ("prc_uscc", USCC, True),
        ("prc_uscc", "91110000600037341A", False),
        ("us_ein", "91-1144442", True),
        ("us_ein", "07-1144442", False),
        ("none", "anything", None),
        (None, "anything", None),
        ("prc_uscc", None, None),
        ("prc_uscc", "-", None),
    ],
)
def test_an_identity_number_is_valid_for_its_type(id_type, number, is_valid):
    assert derive(id_type=id_type, id_number=number)["is_id_valid"] is is_valid


def resident_ids():
    """Return numbers with valid and invalid counties, dates and check characters."""
    random_numbers = random.Random(11)
    for _ in range(4000):
        county = random_numbers.choice(["110105", "440106", "310000", "999999", "360426", "130102"])
        month, day = random_numbers.randrange(14), random_numbers.randrange(33)
        born = f"{random_numbers.randrange(1900, 2030)}{month:02}{day:02}"
        digits = f"{county}{born}{random_numbers.randrange(1000):03}"
        total = sum(int(d) * w for d, w in zip(digits, RESIDENT_WEIGHTS, strict=True))
        check = RESIDENT_CHECKS[total % 11]
        yield digits + (check if random_numbers.random() < 0.9 else random_numbers.choice("0X5"))


def by_stdnum(number):
    try:
        return ric.is_valid(number)
    except KeyError:
        return False  # 310000 is a province; python-stdnum 2.2 wants a county there


def test_the_validity_of_resident_ids_agrees_with_python_stdnum():
    numbers = sorted(set(resident_ids()))
    rows = [good("leads", id_type="prc_resident_id", id_number=number) for number in numbers]
    valid = [row["is_id_valid"] for row in derive_all("leads", rows)]
    assert valid == [by_stdnum(number) for number in numbers]
    assert 100 < sum(valid) < len(valid) - 100


def credit_codes():
    """Return codes with valid and invalid check characters, and with characters of no code."""
    random_numbers = random.Random(3)
    for _ in range(1500):
        digits = "".join(random_numbers.choices("0123456789", k=8))
        code = digits + "".join(random_numbers.choices(CREDIT_ALPHABET, k=9))
        code += uscc.calc_check_digit(code)
        yield code
        place = random_numbers.randrange(18)
        yield code[:place] + random_numbers.choice("OIZSV\u2010\uff11.7A") + code[place + 1 :]
    yield from ("1", f"{USCC}1")


def test_the_validity_of_credit_codes_agrees_with_python_stdnum():
    numbers = sorted(set(credit_codes()))
    rows = [good("leads", id_type="prc_uscc", id_number=number) for number in numbers]
    valid = [row["is_id_valid"] for row in derive_all("leads", rows)]
    assert valid == [uscc.is_valid(number) for number in numbers]
    assert 100 < sum(valid) < len(valid) - 100


def phone_numbers():
    """Return each region's examples of each kind of number, some with wrong digits."""
    random_numbers = random.Random(5)
    for code in CODES:
        for region in COUNTRY_CODE_TO_REGION_CODE[code]:
            metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
            for kind in list_kinds(metadata):
                example = kind.example_number if kind else None
                for _ in range(6 if example else 0):
                    yield f"+{code}{example}"
                    digits = list(example)
                    digits[random_numbers.randrange(len(digits))] = str(random_numbers.randrange(9))
                    example = "".join(digits) + random_numbers.choice(["", "", "", "7"])


def by_phonenumbers(text):
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return False
    in_e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return phonenumbers.is_valid_number(number) and in_e164 == text


def test_the_validity_of_phones_agrees_with_phonenumbers():
    numbers = sorted(set(phone_numbers()))
    sql = is_phone_valid_sql("phone", CODES)
    connection = duckdb.connect()
    connection.register("numbers", pa.table({"phone": numbers}))
    valid = [row[0] for row in connection.sql(f"select {sql} from numbers").fetchall()]
    assert valid == [by_phonenumbers(number) for number in numbers]
    assert 300 < sum(valid) < len(valid) - 300


@pytest.mark.parametrize(
    ("phone", "is_valid"),
    [
        ("+8613800138000", True),
        ("+86 138-0013-8000", True),
        ("13800138000", False),
        ("+8610", False),
        ("+999123456789", False),
        ("call me", False),
        (None, None),
    ],
)
def test_a_phone_is_valid_in_e_164(phone, is_valid):
    assert derive(phone=phone)["is_phone_valid"] is is_valid


def test_hashes_are_taken_of_the_normalised_values():
    lead = derive(id_type="us_ein", id_number="91-1144442", phone="+86 138 0013 8000")
    assert lead["id_number_sha256"] == keyed("911144442")
    assert lead["phone_sha256"] == keyed("+8613800138000")
    link = derive("supply_links", buyer_id=USCC.lower(), seller_id="91-1144442")
    assert (link["buyer_sha256"], link["seller_sha256"]) == (keyed(USCC), keyed("911144442"))


@pytest.mark.parametrize(
    ("id_type", "number", "hashed", "is_valid"),
    [
        ("prc_resident_id", "110105 19491231-002x", RESIDENT, True),
        ("prc_resident_id", "110105194912310029", "110105194912310029", False),
        (None, "passport 1", "PASSPORT1", None),
        ("prc_resident_id", None, None, None),
    ],
)
def test_an_owners_number_is_derived_as_the_one_of_the_lead(id_type, number, hashed, is_valid):
    lead = derive(owner_id_type=id_type, owner_id_number=number)
    assert lead["owner_id_number_sha256"] == (keyed(hashed) if hashed else None)
    assert lead["is_owner_id_valid"] is is_valid
    assert lead["person_key"] == derive()["person_key"]


def test_a_person_is_identified_by_valid_number_else_valid_phone_else_lead():
    wrong = {"id_type": "prc_uscc", "id_number": "1"}
    by_number = {derive(phone=phone)["person_key"] for phone in ("+8613800138000", None)}
    by_phone = {derive(lead_id=name, **wrong)["person_key"] for name in ("a", "b")}
    by_lead = {derive(lead_id=name, phone="1", **wrong)["person_key"] for name in ("a", "b")}
    assert (len(by_number), len(by_phone), len(by_lead)) == (1, 1, 2)
    assert len(by_number | by_phone | by_lead) == 4


@pytest.mark.parametrize(
    ("changes", "age"),
    [
        ({"birth_date": date(1985, 11, 20)}, 41),
        ({"birth_date": date(1985, 11, 21)}, 40),
        # 18:00 in London on the eve of the birthday is the birthday in Shanghai.
        ({"birth_date": date(1985, 11, 21), "captured_at": EVE}, 41),
        ({"birth_date": date(2030, 1, 1)}, None),
        ({"birth_date": None}, None),
        ({"id_type": "prc_resident_id", "id_number": RESIDENT}, 76),
        ({"id_type": "prc_resident_id", "id_number": "1", "birth_date": date(2000, 1, 1)}, 26),
    ],
)  # fmt: skip
def test_age_is_taken_on_the_day_of_capture_from_a_valid_resident_id_first(changes, age):
    assert derive(**changes)["age_years"] == age


def test_a_partners_list_of_plain_hashes_matches_the_keyed_ones():
    plain = hashlib.sha256(b"+8613912345678").hexdigest()
    subjects = [plain, plain.upper(), hashlib.sha256(RESIDENT.encode()).hexdigest(), "search/ann"]
    types = ["phone", "phone", "id_number", "lead"]
    rows = [
        good("suppressions", subject_type=kind, subject=subject)
        for kind, subject in zip(types, subjects, strict=True)
    ]
    listed = [row["subject"] for row in derive_all("suppressions", rows)]
    lead = derive(id_type="prc_resident_id", id_number=RESIDENT, phone="+8613912345678")
    assert listed == [lead["phone_sha256"]] * 2 + [lead["id_number_sha256"], "search/ann"]
    assert plain not in listed
