"""Phone numbers: E.164 for what people write, and validity as SQL over a whole column.

`phonenumbers` itself takes about 20 µs a number; its rules are regular expressions by country
code, so DuckDB can evaluate a column of numbers. A test compares both.
"""

import re
import unicodedata
from functools import cache

import numpy as np
import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberDesc

from expectations import policy
from pipelines.core.arrays import BoolArray

PUNCTUATION = r"[\s().-]"
"""Characters within a number that E.164 leaves out."""
E164 = r"^[+][1-9][0-9]{5,14}$"
MOBILE = {
    phonenumbers.PhoneNumberType.MOBILE,
    phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
}

WORLD = "001"
"""The region of a code without a country, in `phonenumbers`."""


def normalise_phones(
    phones: pa.ChunkedArray, channels: pa.ChunkedArray
) -> tuple[pa.ChunkedArray, BoolArray]:
    """Return `phones` in E.164 where that is unambiguous, and which were rewritten for it.

    A phone that isn't is returned as it was sent. To leave out punctuation is no rewriting.
    """
    bare = pc.replace_substring_regex(phones, PUNCTUATION, "")
    is_e164 = pc.fill_null(pc.match_substring_regex(bare, E164), fill_value=False)
    others = pc.and_(pc.is_valid(phones), pc.invert(is_e164))
    normalised = pc.if_else(is_e164, bare, phones)
    is_rewritten: BoolArray = np.zeros(len(phones), bool)
    if pc.any(others).as_py():
        written = pc.binary_join_element_wise(channels, phones, "\0")
        found = {
            text: _read_phone(*text.split("\0", 1))
            for text in pc.unique(written.filter(others)).to_pylist()
        }
        table = pa.array(found.values(), pa.string())
        index = pc.index_in(written, value_set=pa.array(found, pa.string()))
        read = pc.if_else(others, table.take(index), None)
        is_rewritten = read.is_valid().to_numpy()
        normalised = pc.coalesce(read, normalised)
    return normalised, is_rewritten


def _read_phone(channel: str, text: str) -> str | None:
    """Return a phone as people write it in E.164; None where it can be another number, or none."""
    rules = policy.phones()
    text = unicodedata.normalize("NFKC", text)
    text = "".join(c for c in text if unicodedata.category(c) not in {"Cf", "Cc"}).strip()
    text = re.split("|".join(map(re.escape, rules.extensions)), text, maxsplit=1)[0]
    text = re.sub(PUNCTUATION, "", text)
    if not re.fullmatch(r"[+]?[0-9]{5,20}", text):
        return None
    if text.startswith("00"):
        text = f"+{text[2:]}"
    region = rules.channels.get(channel, rules.region)
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    code = str(phonenumbers.country_code_for_region(region))
    is_clear = (
        text.startswith(("+", "0"))
        or text == f"{code}{number.national_number}"
        or phonenumbers.number_type(number) in MOBILE
    )
    if not (is_clear and phonenumbers.is_valid_number(number)):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@cache
def is_phone_valid_sql(number: str, codes: tuple[int, ...]) -> str:
    """Return SQL that is true where the text `number` is a valid number in E.164.

    Args:
        number: SQL of the text.
        codes: The country codes that occur; numbers of other codes are invalid.
    """
    if not codes:
        return "false"
    cases = " ".join(
        f"when regexp_matches({number}, '^[+]{code}[0-9]+$') "
        f"then {_is_valid_sql(f'substr({number}, {len(str(code)) + 2})', code)}"
        for code in codes
    )
    return f"case {cases} else false end"


@cache
def country_code_pattern() -> str:
    """Return the pattern of an international number; its group is the country code."""
    codes = "|".join(str(code) for code in sorted(COUNTRY_CODE_TO_REGION_CODE))
    return f"^[+]({codes})[0-9]{{4,14}}$"


def _is_valid_sql(national: str, code: int) -> str:
    """Return SQL that is true where the number's region has a kind of number that it matches.

    The region is chosen as in `phonenumbers.region_code_for_number`: the first with leading
    digits that the number begins with, or without leading digits but with a matching kind.
    """
    listed = (_region_metadata(region, code) for region in COUNTRY_CODE_TO_REGION_CODE[code])
    regions = [metadata for metadata in listed if metadata]
    if len(regions) == 1:
        return _has_kind_sql(national, regions[0])
    cases = " ".join(
        f"when {_is_in_region_sql(national, metadata)} then {_has_kind_sql(national, metadata)}"
        for metadata in regions
    )
    return f"(case {cases} else false end)"


def _region_metadata(region: str, code: int) -> PhoneMetadata | None:
    if region == WORLD:
        return PhoneMetadata.metadata_for_nongeo_region(code, None)
    return PhoneMetadata.metadata_for_region(region, None)


def _is_in_region_sql(national: str, metadata: PhoneMetadata) -> str:
    if metadata.leading_digits is None:
        return _has_kind_sql(national, metadata)
    return f"regexp_matches({national}, '^(?:{metadata.leading_digits})')"


def _has_kind_sql(national: str, metadata: PhoneMetadata) -> str:
    general = _matches_sql(national, metadata.general_desc)
    kinds = [_matches_sql(national, description) for description in list_kinds(metadata)]
    return f"({general} and ({' or '.join(dict.fromkeys(kinds))}))"


def list_kinds(metadata: PhoneMetadata) -> tuple[PhoneNumberDesc | None, ...]:
    """Return the description of each kind of number in a region."""
    return (
        *(metadata.fixed_line, metadata.mobile, metadata.toll_free, metadata.premium_rate),
        *(metadata.shared_cost, metadata.voip, metadata.personal_number, metadata.pager),
        *(metadata.uan, metadata.voicemail),
    )


def _matches_sql(national: str, description: PhoneNumberDesc | None) -> str:
    if description is None or not description.national_number_pattern:
        return "false"
    full = f"regexp_full_match({national}, '{description.national_number_pattern}')"
    if not description.possible_length:
        return full
    lengths = ", ".join(str(length) for length in description.possible_length)
    return f"(length({national}) in ({lengths}) and {full})"
