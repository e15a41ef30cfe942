"""Limits of the policy, such as floors or pacing: satisfied, or reported with their shortfall."""

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dags.steps import run_step
from expectations import policy
from expectations.policy import PolicyError
from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches import match_day
from tests.helpers.day import run_matching, write_lake_leads
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY, lift_guarantees

Row = dict[str, Any]

ENTRY = "from: 2026-11-01, source: test"


@pytest.fixture
def write_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes the limits of the policy."""
    folder = tmp_path / "policy"
    folder.mkdir()
    for path in policy.FOLDER.glob("*.yml"):
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(policy, "FOLDER", folder)
    monkeypatch.setattr(policy, "version", policy.version.__wrapped__)
    monkeypatch.setattr(policy, "limits", policy.limits.__wrapped__)

    def write(**entries: str) -> None:
        lists = "".join(f"{kind}:\n- {{{entry}}}\n" for kind, entry in entries.items())
        text = f"decided_on: 2026-11-24\nsource: test\n{lists}"
        (folder / "limits.yml").write_text(text, "utf-8")

    return write


@pytest.fixture(scope="module")
def free_home(matched_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The day, matched while guarantees are lifted; read only."""
    home = tmp_path_factory.mktemp("free") / "home"
    settings = Settings(home=shutil.copytree(matched_home.home, home))
    with pytest.MonkeyPatch.context() as patch:
        lift_guarantees(patch)
        match_day.match(settings, DAY)
    return settings


@pytest.fixture
def matched_copy(free_home: Settings, tmp_path: Path) -> Settings:
    """A copy of it that one test may change."""
    return Settings(home=shutil.copytree(free_home.home, tmp_path / "home"))


@pytest.fixture
def limits(matched_copy: Settings, monkeypatch: pytest.MonkeyPatch, write_limits):
    """Return the same function for the limits of that day; guarantees are lifted."""
    lift_guarantees(monkeypatch)
    return write_limits


def table(settings: Settings, name: str, root: str = "matches") -> list[Row]:
    path = settings.day_folder(settings.home / root, DAY) / f"{name}.parquet"
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


def chosen(settings: Settings) -> set[tuple[str, str]]:
    return {(row["lead_id"], row["product_id"]) for row in table(settings, "matches")}


def of_product(settings: Settings, **named: str) -> int:
    matches = table(settings, "matches")
    return sum(all(row[key] == value for key, value in named.items()) for row in matches)


def lead_column(settings: Settings, column: str) -> dict[str, str]:
    return {row["lead_id"]: row[column] for row in table(settings, "leads", "marts")}


def quotas(settings: Settings) -> dict[str, int]:
    rows = table(settings, "products", "marts")
    return {row["product_id"]: row["daily_quota"] for row in rows}


def with_quotas(settings: Settings, quota: int) -> None:
    """Match the day again with that quota of every product."""
    products = table(settings, "products", "marts")
    rows = [row | {"daily_quota": quota} for row in products]
    write_marts(
        settings.home, DAY, leads=60, products_table=pa.Table.from_pylist(rows, SCHEMAS["products"])
    )
    write_lake_leads(settings, DAY)
    run_matching(settings, DAY)


def price(settings: Settings, kind: str, **named: str) -> Row:
    (row,) = (
        row
        for row in table(settings, "prices")
        if row["kind"] == kind and all(row[key] == value for key, value in named.items())
    )
    return row


def test_default_policy_sets_no_limits():
    assert policy.limits().on(DAY).model_dump(
        include={"floors", "pacing", "exposure", "concentration"}
    ) == {
        "floors": (),
        "pacing": (),
        "exposure": (),
        "concentration": (),
    }


def test_floor_is_met_at_a_cost_of_at_max_its_shadow_price(matched_copy, limits):
    product = {"institution_id": "bank-000", "product_id": "loan-0000"}
    before = of_product(matched_copy, **product)
    value = read_manifest(matched_copy.day_folder(matched_copy.matches, DAY))["value"]
    entry = f"{ENTRY}, institution_id: bank-000, product_id: loan-0000"
    limits(floors=f"{entry}, leads_a_day: {before + 3}")
    facts = match_day.match(matched_copy, DAY)
    assert of_product(matched_copy, **product) == before + 3
    assert facts["value"] < value
    assert facts["value"] == pytest.approx(facts["bound"], abs=1e-2)
    assert "floors_short" not in facts
    row = price(matched_copy, "floor", product_id="loan-0000")
    assert (row["limit"], row["used"], row["short"]) == (before + 3, before + 3, 0)
    assert 0 < value - facts["value"] <= 3 * row["price"] + 1e-3


def test_floor_that_the_plan_meets_anyway_changes_no_match(matched_copy, limits):
    free = chosen(matched_copy)
    made = of_product(matched_copy, institution_id="bank-002")
    limits(floors=f"{ENTRY}, institution_id: bank-002, leads_a_day: {made}")
    facts = match_day.match(matched_copy, DAY)
    assert made > 0
    assert chosen(matched_copy) == free
    assert facts["gap"] == 0
    assert price(matched_copy, "floor", institution_id="bank-002")["price"] == 0


def test_infeasible_floor_is_relaxed_by_the_min_amount_and_reported(matched_copy, limits):
    product = {"institution_id": "bank-001", "product_id": "loan-0002"}
    pairs = table(matched_copy, "pairs", "pairs")
    least_odds = policy.least_odds(DAY)["default"].of_match
    eligible = {
        row["lead_id"]
        for row in pairs
        if row["product_id"] == "loan-0002"
        and row["expected_value"] >= policy.value().minimum_value
        and row["p_approve"] >= least_odds
    }
    most = min(quotas(matched_copy)["loan-0002"], len(eligible))
    limits(floors=f"{ENTRY}, institution_id: bank-001, product_id: loan-0002, leads_a_day: 900")
    facts = match_day.match(matched_copy, DAY)
    assert of_product(matched_copy, **product) == most
    short = product | {"promised": 900, "attained": most, "short": 900 - most}
    assert (facts["floors_short"], facts["min_shortfall"]) == ([short], 900 - most)
    assert read_manifest(matched_copy.day_folder(matched_copy.matches, DAY))["floors_short"] == [
        short
    ]


def test_floor_against_pacing_is_missed_by_the_min_shortfall(matched_copy, limits):
    quota = quotas(matched_copy)["loan-0002"]
    limits(
        floors=f"{ENTRY}, institution_id: bank-001, product_id: loan-0002, leads_a_day: {quota}",
        pacing=f"{ENTRY}, institution_id: bank-001, product_id: loan-0002, share: 0.1",
    )
    facts = match_day.match(matched_copy, DAY)
    channels = Counter(
        row["channel_id"]
        for row in table(matched_copy, "matches")
        if row["product_id"] == "loan-0002"
    )
    assert max(channels.values()) <= max(1, quota // 10)
    (short,) = facts["floors_short"]
    assert short["attained"] == sum(channels.values())
    assert short["short"] == facts["min_shortfall"] == quota - short["attained"]


def test_floor_of_an_absent_institution_is_reported_and_changes_no_match(matched_copy, limits):
    free = chosen(matched_copy)
    limits(floors=f"{ENTRY}, institution_id: bank-999, leads_a_day: 7")
    facts = match_day.match(matched_copy, DAY)
    assert facts["floors_short"] == [
        {"institution_id": "bank-999", "promised": 7, "attained": 0, "short": 7}
    ]
    assert (chosen(matched_copy), facts["gap"], facts["min_shortfall"]) == (free, 0, 7)


def test_pacing_holds_by_product_and_the_max_specific_entry_counts(matched_copy, limits):
    limits(
        pacing=f"{ENTRY}, share: 0.1}}\n- {{{ENTRY}, institution_id: bank-001, share: 0.9}}\n"
        f"- {{{ENTRY}, institution_id: bank-001, product_id: loan-0002, share: 0.2"
    )
    facts = match_day.match(matched_copy, DAY)
    quota = quotas(matched_copy)
    used = Counter((row["product_id"], row["channel_id"]) for row in table(matched_copy, "matches"))
    share = {"loan-0002": 0.2, "loan-0003": 0.9}
    most = {name: max(1, int(share.get(name, 0.1) * quota[name] + 1e-9)) for name in quota}
    assert all(count <= most[product] for (product, _), count in used.items())
    assert any(count == most[product] for (product, _), count in used.items())
    assert facts["value"] <= facts["bound"] + 1e-6
    row = price(matched_copy, "pacing", product_id="loan-0002", group="channel-0")
    assert row["limit"] == most["loan-0002"]
    assert row["used"] == used["loan-0002", "channel-0"]


def test_lead_excluded_by_pacing_has_the_detail_share_full(matched_copy, limits):
    limits(pacing=f"{ENTRY}, share: 0.01")
    match_day.match(matched_copy, DAY)
    details = {row["detail"] for row in table(matched_copy, "unmatched", "unmatched")}
    assert "share_full" in details


def test_exposure_limits_the_share_of_a_group_from_above_and_below(matched_copy, limits):
    with_quotas(matched_copy, 4)
    region = lead_column(matched_copy, "region")
    before = Counter(region[row["lead_id"]] for row in table(matched_copy, "matches"))
    matches = sum(before.values())
    (common, _), *_, (rare, few) = before.most_common()
    wanted = (few + 2) / matches
    limits(exposure=f"{ENTRY}, column: region, group: {rare}, min_share: {wanted}")
    match_day.match(matched_copy, DAY)
    after = Counter(region[row["lead_id"]] for row in table(matched_copy, "matches"))
    assert after[rare] >= few + 2
    assert price(matched_copy, "floor", group=rare)["price"] > 0
    limits(exposure=f"{ENTRY}, column: region, group: {common}, max_share: 0.05")
    match_day.match(matched_copy, DAY)
    of_group = Counter(
        row["product_id"]
        for row in table(matched_copy, "matches")
        if region[row["lead_id"]] == common
    )
    quota = quotas(matched_copy)
    assert of_group
    assert all(count <= max(1, quota[name] * 0.05) for name, count in of_group.items())


def test_no_chain_has_more_matches_than_its_limit_and_the_limit_has_a_price(matched_copy, limits):
    rows = [
        row | {"supply_chain_code": f"chain-{number % 5}" if number % 3 else None}
        for number, row in enumerate(table(matched_copy, "leads", "marts"))
    ]
    leads = pa.Table.from_pylist(rows, SCHEMAS["leads"])
    pq.write_table(leads, matched_copy.day_folder(matched_copy.marts, DAY) / "leads.parquet")
    chain = lead_column(matched_copy, "supply_chain_code")

    def count(*institutions: str) -> Counter:
        return Counter(
            chain[row["lead_id"]]
            for row in table(matched_copy, "matches")
            if not institutions or row["institution_id"] in institutions
        )

    before = count()
    most = min(before.values()) - 1
    assert max(number for name, number in count("bank-000").items() if name) > 1
    limits(concentration=f"{ENTRY}, column: supply_chain_code, max_matches: {most}")
    match_day.match(matched_copy, DAY)
    after = count()
    assert max(number for name, number in after.items() if name) <= most
    assert after[None] >= before[None], "leads of no chain are not limited"
    prices = [row for row in table(matched_copy, "prices") if row["kind"] == "concentration"]
    assert {row["group"] for row in prices} == set(before) - {None}
    assert all(row["used"] <= row["limit"] == most for row in prices)
    assert max(row["price"] for row in prices) > 0
    limits(
        concentration=f"{ENTRY}, institution_id: bank-000, column: supply_chain_code, "
        "max_matches: 1"
    )
    match_day.match(matched_copy, DAY)
    assert max(number for name, number in count("bank-000").items() if name) == 1
    assert sum(count().values()) > sum(after.values())


def test_entry_applies_from_its_first_to_its_last_day(matched_copy, limits):
    free = chosen(matched_copy)
    for span in ("from: 2026-11-01, to: 2026-11-19", "from: 2026-11-21"):
        limits(pacing=f"{span}, share: 0.01, source: test")
        match_day.match(matched_copy, DAY)
        assert chosen(matched_copy) == free
    limits(pacing="from: 2026-11-20, to: 2026-11-20, share: 0.01, source: test")
    match_day.match(matched_copy, DAY)
    assert chosen(matched_copy) != free


def test_threads_do_not_change_a_byte(matched_copy, limits):
    limits(floors=f"{ENTRY}, institution_id: bank-002, leads_a_day: 900")
    runs = []
    for threads in (1, 2):
        match_day.match(Settings(home=matched_copy.home, threads=threads), DAY)
        runs.append(
            read_manifest(matched_copy.day_folder(matched_copy.matches, DAY))["content_sha256"]
        )
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"floors": f"{ENTRY}, institution_id: x, leads_a_day: 0"}, "4, floors.0.leads_a_day"),
        ({"floors": f"{ENTRY}, leads_a_day: 3"}, "4, floors.0.institution_id: Field required"),
        ({"pacing": f"{ENTRY}, share: 1.5"}, "4, pacing.0.share"),
        ({"pacing": f"{ENTRY}, share: 0.5, product_id: p"}, "needs the institution_id"),
        ({"pacing": f"{ENTRY}, to: 2026-10-01, share: 0.5"}, "before it begins on 2026-11-01"),
        ({"pacing": f"{ENTRY}, share: 0.5, shares: 1"}, "4, pacing.0.shares: Extra inputs"),
        ({"exposure": f"{ENTRY}, column: region, group: a"}, "neither min_share nor max_share"),
        (
            {"exposure": f"{ENTRY}, column: r, group: a, min_share: 0.5, max_share: 0.4"},
            "exceeds max_share",
        ),
        ({"exposure": f"{ENTRY}, column: gender, group: female, max_share: 0.4"}, "protected"),
        ({"concentration": f"{ENTRY}, column: gender, max_matches: 9"}, "protected"),
        ({"concentration": f"{ENTRY}, column: region, max_matches: 0"}, "4, concentration.0.max"),
        ({"floors": "[}"}, "line 4: not YAML"),
    ],
)
def test_invalid_policy_names_file_line_and_key(write_limits, entry, message):
    write_limits(**entry)
    with pytest.raises(
        PolicyError, match=rf"(?s)expectations/policy/limits.yml.*{re.escape(message)}"
    ):
        policy.limits()


def test_invalid_policy_fails_the_step_and_keeps_earlier_matches(matched_copy, limits):
    before = chosen(matched_copy)
    limits(pacing=f"{ENTRY}, share: 2")
    with pytest.raises(
        IntegrityError, match=r"limits\.yml, line 4, pacing\.0\.share.*step match of"
    ):
        run_step("match", matched_copy, DAY)
    assert chosen(matched_copy) == before


def test_exposure_by_an_unknown_column_is_an_error_with_the_known_columns(matched_copy, limits):
    limits(exposure=f"{ENTRY}, column: planet, group: earth, max_share: 0.4")
    with pytest.raises(IntegrityError, match=r"by planet.*Choose a column: .*region"):
        match_day.match(matched_copy, DAY)
