"""Identity numbers, phones, names and devices: valid by every checksum, all invented.

None is copied from a real source. An invented number may by chance belong to a real person; the
report and the provenance record state that all of them are invented.
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import IntArray
from pipelines.simulate.keyed_random import KeyedRandom
from pipelines.simulate.world import REGION_CODES, TextArray

USCC_ALPHABET = np.frombuffer(b"0123456789ABCDEFGHJKLMNPQRTUWXY", np.uint8)
MOBILE_PREFIXES = np.array(
    [130, 131, 132, 133, 135, 136, 137, 138, 139, 150, 151, 152, 155, 156, 157, 158, 159, 180,
     181, 182, 183, 185, 186, 187, 188, 189]
)  # fmt: skip
SURNAMES = np.array(list("王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗"))
GIVEN_NAMES = np.array(list("伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉萍红建文宁欣怡子轩"))
TRADES = np.array(["商贸", "科技", "建材", "食品", "物流", "服装", "机械", "餐饮", "电子", "农业"])

AsciiArray = NDArray[np.bytes_]
"""ASCII texts of one width: a quarter of the memory of `TextArray`."""

REGION_DIGITS = np.array([list(str(code)) for code in REGION_CODES]).astype(np.uint8)
CHINA, ZERO = np.frombuffer(b"+86", np.uint8), np.uint8(ord("0"))
HUNDRED_MILLION = 100_000_000
PERMUTATION_FACTOR = 61_803_399
"""Coprime to 10^8, so multiplication modulo 10^8 is a permutation."""


def resident_numbers(
    regions: IntArray, births: NDArray[np.datetime64], sequence: IntArray
) -> AsciiArray:
    """Return 18-character resident numbers (GB 11643) from region, date of birth and 0 to 999."""
    months = births.astype("datetime64[M]")
    year, month = np.divmod(months.astype(np.int64), 12)
    day = (births - months).astype(np.int64) + 1
    date = (year + 1970) * 10_000 + (month + 1) * 100 + day
    digits = np.hstack([REGION_DIGITS[regions], _digits(date, 8), _digits(sequence, 3)])
    weights = np.array([pow(2, 17 - position, 11) for position in range(17)])
    check = (1 - digits @ weights) % 11
    characters = np.frombuffer(b"0123456789X", np.uint8)
    return _to_texts(characters.take(np.column_stack([digits, check.astype(np.uint8)])))


def credit_codes(regions: IntArray, firms: IntArray) -> AsciiArray:
    """Return 18-character unified social credit codes (GB 32100), distinct by firm number."""
    number = _digits(_permute(firms), 8)
    check = 11 - number @ np.array([3, 7, 9, 10, 5, 8, 4, 2]) % 11
    # GB 11714 writes a check of 10 as X, which has position 29 in the alphabet of GB 32100.
    check = np.select([check == 10, check == 11], [29, 0], check)
    registered = np.tile(np.array([9, 1], np.uint8), (firms.size, 1))
    leading = [registered, REGION_DIGITS[regions], number, check.astype(np.uint8)[:, None]]
    digits = np.hstack(leading)
    last = -(digits @ np.array([pow(3, position, 31) for position in range(17)])) % 31
    return _to_texts(USCC_ALPHABET.take(np.column_stack([digits, last.astype(np.uint8)])))


def phones(owners: IntArray) -> AsciiArray:
    """Return a mobile number in E.164 by owner number; distinct below 10^8."""
    prefix = MOBILE_PREFIXES[(owners * 7 + owners // HUNDRED_MILLION) % MOBILE_PREFIXES.size]
    digits = _digits(prefix * HUNDRED_MILLION + _permute(owners), 11)
    return _to_texts(np.hstack([np.tile(CHINA, (owners.size, 1)), digits + ZERO]))


def person_names(random: KeyedRandom, people: IntArray) -> TextArray:
    """Return a surname with a given name of one or two characters for each person."""
    surname = SURNAMES[random.integers("surname", SURNAMES.size, people)]
    first = GIVEN_NAMES[random.integers("given name", GIVEN_NAMES.size, people)]
    second = GIVEN_NAMES[random.integers("second given name", GIVEN_NAMES.size, people)]
    has_second = random.uniform("has second name", people) < 0.7
    return np.char.add(np.char.add(surname, first), np.where(has_second, second, ""))


def firm_names(random: KeyedRandom, firms: IntArray) -> TextArray:
    """Return a registered name for each firm."""
    first = GIVEN_NAMES[random.integers("firm name", GIVEN_NAMES.size, firms)]
    second = GIVEN_NAMES[random.integers("firm second name", GIVEN_NAMES.size, firms)]
    trade = TRADES[random.integers("firm trade", TRADES.size, firms)]
    return np.char.add(np.char.add(np.char.add(first, second), trade), "有限公司")


def device_ids(random: KeyedRandom, owners: IntArray) -> TextArray:
    """Return a device id by owner number."""
    return np.char.add("d", random.integers("device", 10**15, owners).astype(np.str_))


def _permute(numbers: IntArray) -> IntArray:
    """Return a permutation of the numbers below 10^8."""
    return (numbers * PERMUTATION_FACTOR + 20_261_122) % HUNDRED_MILLION


def _digits(numbers: IntArray, width: int) -> NDArray[np.uint8]:
    """Return decimal digits, shape (numbers, width), most significant first."""
    digits = np.empty((width, numbers.size), np.uint8)
    for position in range(width - 1, -1, -1):
        numbers, digits[position] = np.divmod(numbers, 10)
    return digits.T


def _to_texts(characters: NDArray[np.uint8]) -> AsciiArray:
    rows = np.ascontiguousarray(characters, np.uint8)
    return rows.view(f"S{rows.shape[1]}").ravel()
