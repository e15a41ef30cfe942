"""The table of what restricts: each file and column, each damage, and what happens then.

Every case follows from the keys of the contracts (`restricts`, `on_unreadable`, `on_unknown`,
`safer_first`, `key`, `orders`, ...). The page and the test of each case are made of the same list.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, get_args

from expectations.contracts import Column, Contract

PATH = "docs/restrictions.md"
TEST = "tests/ingest/test_restriction_table.py"

Damage = Literal["missing", "misspelt", "late", "twice", "contradictory", "unreadable"]
DAMAGES: tuple[Damage, ...] = get_args(Damage)
TYPED = frozenset({"integer", "number", "boolean", "date", "timestamp"})


@dataclass(frozen=True)
class Case:
    """One damage of a file or column, in one variant."""

    feed: str
    column: str
    """Name of the column, or `FILE`."""
    damage: Damage
    variant: str
    effect: str
    """Key of `EFFECTS`, or of `NOT_APPLICABLE` where there is nothing to test."""

    @property
    def test(self) -> str:
        """The id of its test."""
        return f"{self.feed}.{self.column}.{self.damage}.{self.variant}"


FILE = "file"
"""Takes the place of the column."""

EFFECTS = {
    # what a contract's on_unreadable closes
    "close_product": "the product closes",
    "close_institution": "all products of the institution close",
    "close_listed": "all institutions that the platform lists close",
    "hold_delivery": "the deliveries that it could concern are held",
    "suppress_subject": "the subject is suppressed at once",
    "close_lead": "the lead is closed",
    "close_channel": "the channel's other leads of the day are closed",
    "row_absent": "the row is quarantined, and what is absent is closed",
    # what a readable value does
    "absent": "it lists another one; the one that is meant is absent, and so closed",
    "other_product": "as above, and the listed one closes where rules name the absent one",
    "rule_closes_product": "the product closes before the matching, by name",
    "rule_closes_institution": "all products without the same rule or fee close",
    "other_lead": "another lead; its withdrawal holds for the person",
    "no_institution": "it covers no institution, so nobody gets the lead",
    "every_institution": "the order holds for every institution",
    "not_sent": "no such column is sent",
    "any_text": "no text is unknown; the row is loaded",
    "unknown_role": "nobody is matched by the consent of such a role",
    "reported": "it restricts nobody, and the page says so",
    "no_limit": "no limit, as the contract says",
    "not_withdrawn": "consent is not withdrawn",
    "role_not_stated": "the policy says whether the consent counts; as it is, it does",
    # of several rows, files or dates
    "all_rows": "each row applies",
    "other_rows": "each key is a row of its own",
    "safer_row": "the safer row is loaded",
    "careful_of_both": "of two platforms the more careful one counts",
    "first_row": "the first row is loaded; none excludes more than the other",
    "withdrawal_wins": "a withdrawal counts, whichever copy has it",
    "safer_row_and_close_product": "one row is loaded, and the product closes",
    "safer_row_and_close_institution": "one row is loaded, and the institution closes",
    "not_loaded": "none of the rows is loaded",
    "next_run": "it counts from the next run on",
    "superseded": "nothing: a later catalogue is known",
    "once": "it counts once",
    "newest": "the newest version counts",
    "in_force": "what was sent before stays in force",
    "nothing": "nothing: it states no restriction",
    "not_read": "it is not loaded, and the page says so",
    "loaded": "it is loaded, and its orders are obeyed",
}
"""Effect -> its words."""

NOT_APPLICABLE = {
    "alone": "does not apply: no other row or column states the opposite of it",
}
"""Reason why a damage does not apply -> its words."""

SAFER = {"close_product": "safer_row_and_close_product"} | {
    "close_institution": "safer_row_and_close_institution"
}
UNKNOWN = {"close_product": "rule_closes_product", "close_institution": "rule_closes_institution"}
"""Value of `on_unknown` -> effect, where they differ."""


def list_cases(contracts: Iterable[Contract]) -> list[Case]:
    """Return the cases of all feeds that restrict, in the order of the page."""
    return [
        Case(contract.feed, row, damage, variant, effect)
        for contract in contracts
        if contract.on_unreadable
        for row in (FILE, *(column.name for column in contract.columns if column.restricts))
        for damage in DAMAGES
        for variant, effect in _list_variants(contract, row, damage)
    ]


Variants = Iterator[tuple[str, str]]


def _list_variants(contract: Contract, row: str, damage: Damage) -> Variants:
    if row == FILE:
        yield from _FILE_VARIANTS[damage](contract)
    else:
        yield from _COLUMN_VARIANTS[damage](contract, contract[row])


# columns


def _missing_value(contract: Contract, column: Column) -> Variants:
    if column.required:
        yield "empty", _row_effect(contract, column)
        yield "no_column", _file_effect(contract)
    else:
        yield "empty", _empty_effect(contract, column)
        yield "no_column", _empty_effect(contract, column)


def _misspelt_value(contract: Contract, column: Column) -> Variants:
    patterns = [pattern.column for pattern in contract.conditional_patterns]
    is_closed = column.allowed or column.currency or column.pattern or column.type in TYPED
    if is_closed or column.name in patterns:
        yield "word", _row_effect(contract, column)
    if column.minimum is not None:
        yield "below_the_least", _row_effect(contract, column)
    if column.on_unknown:
        yield "unknown", UNKNOWN.get(column.on_unknown, column.on_unknown)
    names_all = bool(column.means_every)
    yield "name_of_column", "every_institution" if names_all else _file_effect(contract)


def _late_value(contract: Contract, column: Column) -> Variants:
    yield "readable", "next_run"
    yield "unreadable", _row_effect(contract, column)


def _repeated_value(contract: Contract, column: Column) -> Variants:
    if column.name in contract.key:
        yield "other_value", "all_rows" if _each_row_restricts(contract) else "other_rows"
    elif contract.withdrawal and column.name == contract.withdrawal.role:
        yield "other_value", "close_lead"
    elif column.name in _ranked(contract):
        yield "safer_value", "safer_row"
    elif contract.full_catalogue:
        yield "other_value", SAFER[_row_action(contract)]
    else:
        yield "other_value", "first_row"


_DISPUTED_CONSENT = (
    ("later_copy", "withdrawal_wins"),
    ("two_scopes", "close_lead"),
    ("later_role", "close_lead"),
)
"""Variant and effect of copies that differ in a column of a consent, as `Withdrawal.columns`."""


def _contradictory_value(contract: Contract, column: Column) -> Variants:
    is_ordered = any(
        column.name in (order.earlier, order.later) and order.severity == "critical"
        for order in contract.orders
    )
    if is_ordered:
        yield "reversed", _row_effect(contract, column)
    if column.name in contract.key:
        if _each_row_restricts(contract):
            yield "opposite_rows", "all_rows"
        elif contract.person:
            yield "other_person", "not_loaded"
        else:
            yield "one_list_only", _row_action(contract)
    elif contract.withdrawal and column.name in contract.withdrawal.columns:
        place = contract.withdrawal.columns.index(column.name)
        yield _DISPUTED_CONSENT[place]
    elif contract.full_catalogue and column.name in _ranked(contract):
        yield "stricter_elsewhere", SAFER[_row_action(contract)]
    elif not is_ordered and not contract.full_catalogue:
        yield "", "alone"
    elif not is_ordered:
        yield "opposite_rows", SAFER[_row_action(contract)]


def _unreadable_value(contract: Contract, column: Column) -> Variants:
    yield "type", _row_effect(contract, column)


# files


def _missing_file(contract: Contract) -> Variants:
    yield "no_file", "in_force"
    yield "no_rows", _file_effect(contract) if contract.full_catalogue else "nothing"


def _misspelt_file(contract: Contract) -> Variants:
    yield "name", _file_effect(contract)
    yield "feed", "not_read" if contract.withdrawal else _file_effect(contract)
    if contract.source_column == "institution_id":
        yield "source", "in_force"
    else:
        yield "source", "loaded"


def _late_file(contract: Contract) -> Variants:
    yield "readable", "next_run"
    yield "unreadable", _file_effect(contract)
    if contract.full_catalogue:
        yield "older_than_the_known", "superseded"


def _repeated_file(_: Contract) -> Variants:
    yield "same_content", "once"
    yield "same_name", "newest"


def _contradictory_file(contract: Contract) -> Variants:
    if contract.full_catalogue and contract.safer_first:
        yield "two_lists", _row_action(contract)
        if contract.source_column != "institution_id":
            yield "two_sources", "careful_of_both"
    elif contract.withdrawal:
        yield "two_files", "withdrawal_wins"
    else:
        yield "two_files", "all_rows"
        if contract.source_column != "institution_id":
            yield "two_sources", "all_rows"


def _unreadable_file(contract: Contract) -> Variants:
    yield "encoding", _file_effect(contract)
    yield "truncated", _file_effect(contract)
    yield "zero_bytes", "nothing" if contract.withdrawal else _file_effect(contract)


_COLUMN_VARIANTS = {
    "missing": _missing_value,
    "misspelt": _misspelt_value,
    "late": _late_value,
    "twice": _repeated_value,
    "contradictory": _contradictory_value,
    "unreadable": _unreadable_value,
}
_FILE_VARIANTS = {
    "missing": _missing_file,
    "misspelt": _misspelt_file,
    "late": _late_file,
    "twice": _repeated_file,
    "contradictory": _contradictory_file,
    "unreadable": _unreadable_file,
}


def _row_action(contract: Contract) -> str:
    return contract.on_unreadable.row if contract.on_unreadable else ""


def _row_effect(contract: Contract, column: Column) -> str:
    """Return the effect of an unreadable value: the action, in the words of the feed."""
    action = contract.action_of(column.name) or ""
    by_feed = {"keep_previous": "row_absent"}
    if contract.withdrawal:
        by_feed["suppress_subject"] = "close_lead"
    return by_feed.get(action, action)


def _file_effect(contract: Contract) -> str:
    action = contract.on_unreadable.file if contract.on_unreadable else ""
    if contract.withdrawal and action == "suppress_subject":
        return "close_channel"
    if action == "close_institution" and contract.source_column != "institution_id":
        return "close_listed"
    return action


def _empty_effect(contract: Contract, column: Column) -> str:
    if column.means_every:
        return "every_institution"
    if contract.withdrawal and column.name == contract.withdrawal.role:
        return "role_not_stated"
    return "not_withdrawn" if contract.withdrawal else "no_limit"


def _each_row_restricts(contract: Contract) -> bool:
    """Return whether rows of the feed only restrict, so that more of them open nothing."""
    return not contract.safer_first


def _ranked(contract: Contract) -> set[str]:
    return {criterion.column for criterion in contract.safer_first}


# the page

HEADER = """\
# What happens to what restricts

Derived from `expectations/contracts/*.yml` by `make docs`; edit the contracts instead.

One row per file and column that restricts, one column per damage. A cell names the variants of the
damage and what happens. [The decisions](decisions/what-cannot-be-read-closes.md) have the reasons,
[the runbook](runbook.md) has what to do.

Each variant has a test: `{test}::test_a_cell_holds[FEED.COLUMN.DAMAGE.VARIANT]`, such as
`[{example}]`. It lands the damaged file, runs the ingest and compares what is published with this
page. Then the warehouse is built from it: what the page calls closed is closed in the marts
(`::test_what_the_page_calls_closed_is_closed_in_the_marts`).

| damage | meaning |
| --- | --- |
| missing | the value is empty, or there is no such column; there is no file, or it has no rows |
| misspelt | `word`: it can't be a value; `unknown`: it names nothing known; else a name or limit |
| late | it arrives after its date was run |
| twice | the same key again on one day, with another value; the same file again |
| contradictory | two rows, files or sources say the opposite |
| unreadable | the wrong type; the wrong encoding, a cut or empty file |

What nobody can see: a file cut exactly between two lines is a shorter file; a mistyped limit may
be a plausible number; a hash of a mistyped value is a hash. (The page names a source of orders of
which none matches any lead.)
"""

_PRESENT = "tests/deliveries/test_present_knowledge.py::"
_DELIVER = "tests/deliveries/test_deliver.py::"
_ELIGIBILITY = "tests/pairs/test_eligibility.py::"

DOWNSTREAM: tuple[tuple[str, tuple[str, ...], str, tuple[str, ...]], ...] = (
    (
        "a product or institution closes",
        ("close_product", "close_institution", "close_listed", *SAFER.values()),
        "mart `products`, `pairs/`",
        (
            "what_cannot_be_read_closes_until_its_source_sends_it_again",
            "tests/pairs/test_eligibility.py::test_a_closed_product_is_listed_with_its_reason",
        ),
    ),
    (
        "deliveries are held",
        ("hold_delivery",),
        "`deliver`",
        (
            f"{_PRESENT}test_an_unreadable_order_list_holds_each_delivery_that_it_could_concern",
            f"{_PRESENT}test_a_hold_ends_with_a_readable_list_for_the_same_date",
        ),
    ),
    (
        "a subject or lead is suppressed",
        ("suppress_subject", "close_lead", "close_channel", "every_institution", "all_rows"),
        "`int_leads__suppressed`, `deliver`",
        (
            "an_order_holds_from_the_day_it_is_known_and_in_effect",
            "an_order_on_one_lead_of_a_person_holds_for_all_of_them",
            "tests/deliveries/test_deliver.py::test_a_suppression_after_matching_stops_the_file",
        ),
    ),
    (
        "what is absent is closed",
        ("row_absent", "absent", "not_loaded", "newest"),
        "`int_products__versions`, `int_institutions__versions`",
        (
            "a_catalogue_replaces_the_one_before_as_a_whole",
            "an_institution_that_left_its_platforms_list_is_not_in_force",
        ),
    ),
    (
        "rules or fees of another product",
        ("other_product", "rule_closes_institution"),
        "`int_restrictions__in_force`",
        (
            "a_product_that_follows_one_with_rules_stays_closed_without_them",
            "a_rule_of_an_unknown_product_closes_products_without_the_same_rule",
            "a_fee_of_an_unknown_product_closes_products_without_the_same_fee",
        ),
    ),
    (
        "a rule that can't be applied",
        ("rule_closes_product",),
        "`pairs/date=D/closed_products.parquet`",
        (
            "tests/pairs/test_rules.py::test_an_invalid_rule_closes_its_product_with_a_reason",
            f"{_ELIGIBILITY}test_a_rule_on_an_unknown_attribute_closes_only_its_product",
        ),
    ),
    (
        "a withdrawal",
        ("other_lead", "withdrawal_wins", "not_withdrawn"),
        "`int_leads__withdrawn`, `deliver`",
        (
            "a_withdrawal_on_one_lead_of_a_person_holds_for_all_of_them",
            f"{_PRESENT}test_what_a_later_file_of_the_channel_says_counts",
        ),
    ),
    (
        "the role of who consented for a business",
        ("unknown_role", "role_not_stated"),
        "`int_leads__unauthorised`, `deliver`",
        (
            "a_business_needs_the_consent_of_a_role_that_its_jurisdiction_allows",
            "tests/deliveries/last_gate/test_consent_roles.py::test_a_role_that_may_not_consent_is_stopped",
        ),
    ),
    (
        "institutions of a consent, columns of a file",
        ("no_institution", "not_sent", "any_text", "first_row"),
        "`pairs/`, `deliver`",
        (
            "tests/deliveries/test_deliver.py::test_every_kind_of_missing_consent_stops_the_file",
            "tests/deliveries/test_deliver.py::test_withheld_columns_are_stated_and_not_sent",
        ),
    ),
    (
        "it counts later",
        ("next_run", "superseded", "in_force", "once", "loaded", "nothing", "not_read"),
        "`deliver` corrects, and names what it takes back",
        (
            f"{_PRESENT}test_an_erasure_known_a_day_later_is_not_delivered_again_and_is_retracted",
            f"{_PRESENT}test_a_pause_end_or_smaller_cap_concerns_new_rows_only",
            "an_old_catalogue_that_comes_late_replaces_nothing",
        ),
    ),
    (
        "of two statements the careful one",
        ("safer_row", "careful_of_both", "other_rows", "no_limit"),
        "ingest, `int_institutions__admissions`",
        (
            "of_two_platforms_the_more_careful_one_counts",
            "tests/ingest/test_restrictions.py::test_of_two_catalogues_the_paused_product_and_the_earlier_end_count",
        ),
    ),
    (
        "a finding on the page",
        ("reported",),
        "`lake/restrictions/date=D/manifest.json`, the report",
        ("tests/reports/test_losses.py::test_a_source_whose_orders_match_nobody_is_named",),
    ),
)
"""Name, effects, the step where they take effect, and its tests: pytest ids or dbt unit tests."""


def render_table(contracts: Iterable[Contract]) -> str:
    """Return the page as Markdown: the steps that close, then a table per feed."""
    contracts = tuple(contracts)
    cases = list_cases(contracts)
    harmless = [contract.feed for contract in contracts if not contract.on_unreadable]
    lines = [HEADER.format(test=TEST, example=cases[0].test), *_legend()]
    lines += [f"No column of {_and(harmless)} restricts; nobody is closed by them.", ""]
    for feed, of_feed in groupby(cases, key=lambda case: case.feed):
        lines += [f"## {feed}", "", "| | " + " | ".join(DAMAGES) + " |"]
        lines += ["| --- |" + " --- |" * len(DAMAGES)]
        for row, of_row in groupby(of_feed, key=lambda case: case.column):
            cells = {damage: list(part) for damage, part in groupby(of_row, lambda c: c.damage)}
            name = "**the file**" if row == FILE else f"`{row}`"
            lines.append(f"| {name} | " + " | ".join(map(_describe, cells.values())) + " |")
        lines.append("")
    return "\n".join(lines)


def _legend() -> Iterator[str]:
    yield "Where it takes effect after the ingest, and the tests of that step (a bare name is a"
    yield "unit test of dbt):"
    yield ""
    yield "| what happens | where | tests |"
    yield "| --- | --- | --- |"
    for name, _, where, tests in DOWNSTREAM:
        yield f"| {name} | {where} | {'; '.join(f'`{test}`' for test in tests)} |"
    yield ""


def _describe(cases: Iterable[Case]) -> str:
    """Return the words of a cell: the variants of each effect, then the effect."""
    variants: dict[str, list[str]] = {}
    for case in cases:
        variants.setdefault(case.effect, []).append(f"`{case.variant}`")
    return "; ".join(
        NOT_APPLICABLE.get(effect) or f"{', '.join(names)}: {EFFECTS[effect]}"
        for effect, names in variants.items()
    )


def _and(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"
