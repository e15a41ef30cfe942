"""Identity numbers, phones, names and devices: valid by every checksum, and all invented.

None is taken from anywhere. A number may by chance be someone's, as any made-up number may; the
report and the landing record say that all of them are invented.
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import IntArray
from pipelines.simulate.keyed_random import Chance
from pipelines.simulate.world import PLACES, Texts

USCC = np.frombuffer(b"0123456789ABCDEFGHJKLMNPQRTUWXY", np.uint8)
MOBILE = np.array(
    [130, 131, 132, 133, 135, 136, 137, 138, 139, 150, 151, 152, 155, 156, 157, 158, 159, 180,
     181, 182, 183, 185, 186, 187, 188, 189]
)  # fmt: skip
SURNAMES = np.array(list("王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗"))
GIVEN = np.array(list("伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉萍红建文宁欣怡子轩"))
TRADES = np.array(["商贸", "科技", "建材", "食品", "物流", "服装", "机械", "餐饮", "电子", "农业"])

Numbers = NDArray[np.bytes_]
"""ASCII texts of one width: a quarter of the memory of `Texts`."""

PLACE_DIGITS = np.array([list(str(place)) for place in PLACES]).astype(np.uint8)
CHINA, ZERO = np.frombuffer(b"+86", np.uint8), np.uint8(ord("0"))
HUNDRED_MILLION = 100_000_000
SPREAD = 61_803_399
"""Without a factor in common with 10^8, so that multiplying by it only shuffles the numbers."""


def resident_ids(regions: IntArray, births: NDArray[np.datetime64], sequence: IntArray) -> Numbers:
    """Return 18-character resident numbers (GB 11643) of regions, dates of birth and 0..999."""
    months = births.astype("datetime64[M]")
    year, month = np.divmod(months.astype(np.int64), 12)
    day = (births - months).astype(np.int64) + 1
    date = (year + 1970) * 10_000 + (month + 1) * 100 + day
    digits = np.hstack([PLACE_DIGITS[regions], _digits(date, 8), _digits(sequence, 3)])
    weights = np.array([pow(2, 17 - place, 11) for place in range(17)])
    check = (1 - digits @ weights) % 11
    characters = np.frombuffer(b"0123456789X", np.uint8)
    return _texts(characters.take(np.column_stack([digits, check.astype(np.uint8)])))


def uscc(regions: IntArray, firms: IntArray) -> Numbers:
    """Return 18-character unified social credit codes (GB 32100), one for each firm's number."""
    number = _digits(_shuffled(firms), 8)
    check = 11 - number @ np.array([3, 7, 9, 10, 5, 8, 4, 2]) % 11
    # In USCC's alphabet X, which stands for a check of 10 (GB 11714), has place 29.
    check = np.select([check == 10, check == 11], [29, 0], check)
    registered = np.tile(np.array([9, 1], np.uint8), (firms.size, 1))
    places = np.hstack([registered, PLACE_DIGITS[regions], number, check.astype(np.uint8)[:, None]])
    last = -(places @ np.array([pow(3, place, 31) for place in range(17)])) % 31
    return _texts(USCC.take(np.column_stack([places, last.astype(np.uint8)])))


def phones(owners: IntArray) -> Numbers:
    """Return a mobile number in E.164 for each owner's number; different below 10^8."""
    prefix = MOBILE[(owners * 7 + owners // HUNDRED_MILLION) % MOBILE.size]
    digits = _digits(prefix * HUNDRED_MILLION + _shuffled(owners), 11)
    return _texts(np.hstack([np.tile(CHINA, (owners.size, 1)), digits + ZERO]))


def names(chance: Chance, people: IntArray) -> Texts:
    """Return a surname with one or two characters for each person."""
    surname = SURNAMES[chance.below("surname", SURNAMES.size, people)]
    first = GIVEN[chance.below("given name", GIVEN.size, people)]
    second = GIVEN[chance.below("second given name", GIVEN.size, people)]
    has_second = chance.uniform("has second name", people) < 0.7
    return np.char.add(np.char.add(surname, first), np.where(has_second, second, ""))


def firm_names(chance: Chance, firms: IntArray) -> Texts:
    """Return a registered name for each firm."""
    first = GIVEN[chance.below("firm name", GIVEN.size, firms)]
    second = GIVEN[chance.below("firm second name", GIVEN.size, firms)]
    trade = TRADES[chance.below("firm trade", TRADES.size, firms)]
    return np.char.add(np.char.add(np.char.add(first, second), trade), "有限公司")


def devices(chance: Chance, owners: IntArray) -> Texts:
    """Return a device's name for each owner's number."""
    return np.char.add("d", chance.below("device", 10**15, owners).astype(np.str_))


def _shuffled(numbers: IntArray) -> IntArray:
    return (numbers * SPREAD + 20_261_122) % HUNDRED_MILLION


def _digits(numbers: IntArray, width: int) -> NDArray[np.uint8]:
    """Return decimal digits, shape (numbers, width), the most significant first."""
    digits = np.empty((width, numbers.size), np.uint8)
    for place in range(width - 1, -1, -1):
        numbers, digits[place] = np.divmod(numbers, 10)
    return digits.T


def _texts(characters: NDArray[np.uint8]) -> Numbers:
    rows = np.ascontiguousarray(characters, np.uint8)
    return rows.view(f"S{rows.shape[1]}").ravel()
