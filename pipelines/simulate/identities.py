"""Identity numbers, phones, names and devices: valid by every checksum, and all invented.

None is taken from anywhere. A number may by chance be someone's, as any made-up number may; the
report and the landing record say that all of them are invented.
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.simulate.chance import Chance, Ints
from pipelines.simulate.world import PLACES, Texts

USCC = np.frombuffer(b"0123456789ABCDEFGHJKLMNPQRTUWXY", np.uint8)
MOBILE = np.array(
    [130, 131, 132, 133, 135, 136, 137, 138, 139, 150, 151, 152, 155, 156, 157, 158, 159, 180,
     181, 182, 183, 185, 186, 187, 188, 189]
)  # fmt: skip
SURNAMES = np.array(list("王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗"))
GIVEN = np.array(list("伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉萍红建文宁欣怡子轩"))
TRADES = np.array(["商贸", "科技", "建材", "食品", "物流", "服装", "机械", "餐饮", "电子", "农业"])

HUNDRED_MILLION = 100_000_000
SPREAD = 61_803_399
"""Without a factor in common with 10^8, so that multiplying by it only shuffles the numbers."""


def resident_ids(regions: Ints, births: NDArray[np.datetime64], sequence: Ints) -> Texts:
    """Return 18-character resident numbers (GB 11643) of regions, dates of birth and 0..999."""
    year = births.astype("datetime64[Y]").astype(np.int64) + 1970
    month = births.astype("datetime64[M]").astype(np.int64) % 12 + 1
    day = (births - births.astype("datetime64[M]")).astype(np.int64) + 1
    date = year * 10_000 + month * 100 + day
    digits = np.hstack([_digits(PLACES[regions], 6), _digits(date, 8), _digits(sequence, 3)])
    weights = np.array([pow(2, 17 - place, 11) for place in range(17)])
    check = (1 - (digits * weights).sum(axis=1)) % 11
    characters = np.frombuffer(b"0123456789X", np.uint8)
    return _texts(np.column_stack([characters[digits], characters[check]]))


def uscc(regions: Ints, firms: Ints) -> Texts:
    """Return 18-character unified social credit codes (GB 32100), one for each firm's number."""
    number = _digits(_shuffled(firms), 8)
    check = 11 - (number * np.array([3, 7, 9, 10, 5, 8, 4, 2])).sum(axis=1) % 11
    # In USCC's alphabet X, which stands for a check of 10 (GB 11714), has place 29.
    check = np.select([check == 10, check == 11], [29, 0], check)
    registered = np.tile([9, 1], (firms.size, 1))
    places = np.column_stack([registered, _digits(PLACES[regions], 6), number, check])
    weights = np.array([pow(3, place, 31) for place in range(17)])
    last = (31 - (places * weights).sum(axis=1) % 31) % 31
    return _texts(USCC[np.column_stack([places, last])])


def phones(owners: Ints) -> Texts:
    """Return a mobile number in E.164 for each owner's number; different below 10^8."""
    prefix = MOBILE[(owners * 7 + owners // HUNDRED_MILLION) % MOBILE.size]
    return np.char.add("+86", (prefix * HUNDRED_MILLION + _shuffled(owners)).astype(np.str_))


def names(chance: Chance, people: Ints) -> Texts:
    """Return a surname with one or two characters for each person."""
    surname = SURNAMES[chance.below("surname", SURNAMES.size, people)]
    first = GIVEN[chance.below("given name", GIVEN.size, people)]
    second = GIVEN[chance.below("second given name", GIVEN.size, people)]
    has_second = chance.uniform("has second name", people) < 0.7
    return np.char.add(np.char.add(surname, first), np.where(has_second, second, ""))


def firm_names(chance: Chance, firms: Ints) -> Texts:
    """Return a registered name for each firm."""
    first = GIVEN[chance.below("firm name", GIVEN.size, firms)]
    second = GIVEN[chance.below("firm second name", GIVEN.size, firms)]
    trade = TRADES[chance.below("firm trade", TRADES.size, firms)]
    return np.char.add(np.char.add(np.char.add(first, second), trade), "有限公司")


def devices(chance: Chance, owners: Ints) -> Texts:
    """Return a device's name for each owner's number."""
    return np.char.add("d", chance.below("device", 10**15, owners).astype(np.str_))


def _shuffled(numbers: Ints) -> Ints:
    return (numbers * SPREAD + 20_261_122) % HUNDRED_MILLION


def _digits(numbers: Ints, width: int) -> Ints:
    return numbers[:, None] // 10 ** np.arange(width - 1, -1, -1) % 10


def _texts(characters: NDArray[np.uint8]) -> Texts:
    rows = np.ascontiguousarray(characters, np.uint8)
    return rows.view(f"S{rows.shape[1]}").ravel().astype(np.str_)
