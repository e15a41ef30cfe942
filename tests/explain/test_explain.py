"""Every product of a lead, and every lead of a product, is accounted for with what decided."""

import json
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations import policy
from pipelines.cli.app import main
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.explain import explain
from pipelines.explain.allocation_reasons import decision
from tests.helpers.day import run_matching, write_day_before_matching
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.matched_day import DAY

RULE = {
    "institution_id": "bank-000",
    "product_id": "loan-0000",
    "attribute": "bureau_score",
    "op": "ge",
    "value": "700",
}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a matched day in which quotas bind and a product has a rule of its own."""
    rules = pa.Table.from_pylist([RULE], SCHEMAS["product_rules"])
    home = tmp_path_factory.mktemp("explained")
    settings = write_day_before_matching(
        home, DAY, leads=200, products=12, product_rules_table=rules
    )
    run_matching(settings, DAY)
    return settings


def rows(settings: Settings, root: str) -> list[dict[str, Any]]:
    folder = settings.day_folder(getattr(settings, root), DAY)
    return pq.read_table(folder / f"{root}.parquet").to_pylist()


def mart(settings: Settings, name: str) -> list[dict[str, Any]]:
    return pq.read_table(settings.day_folder(settings.marts, DAY) / f"{name}.parquet").to_pylist()


def key(row: dict[str, Any]) -> tuple[str, str]:
    return row["channel_id"], row["lead_id"]


def test_a_matched_lead_sees_every_product_and_its_offers_first(day):
    offers = Counter(key(match) for match in rows(day, "matches"))
    lead, count = offers.most_common(1)[0]
    found = explain(day, DAY, lead=lead)
    assert found["outcome"] == "matched"
    assert len(found["products"]) == len(mart(day, "products"))
    assert [row["rank"] for row in found["products"][:count]] == list(range(1, count + 1))
    assert {row["decision"] for row in found["products"][:count]} == {"chosen"}
    assert found["products"][-1]["decision"] == "closed"
    assert all(row["why"] for row in found["products"])


def test_what_is_told_of_each_pair_is_what_was_scored_and_no_pair_is_left_unexplained(day):
    pairs = {
        (*key(row), row["institution_id"], row["product_id"]): row for row in rows(day, "pairs")
    }
    told = 0
    ended = [*rows(day, "unmatched")[::10], *rows(day, "matches")[::40]]
    for lead in {key(row) for row in ended}:
        for row in explain(day, DAY, lead=lead)["products"]:
            scored = pairs.get((*lead, row["institution_id"], row["product_id"]))
            missed = [each for each in row["verdicts"] if each["answer"] != "met"]
            assert ("expected_value" in row) == (scored is not None)
            assert (scored is None) == bool(missed or row["decision"] == "closed")
            if scored:
                told += 1
                assert row["p_approve"] == scored["p_approve"]
                assert row["expected_value"] == scored["expected_value"]
                assert row["decision"] != "budget_or_tie"
    assert told > 50


def test_an_unmatched_lead_names_its_stage_and_the_rule_of_each_product(day):
    lead = next(
        row for row in rows(day, "unmatched") if row["stage"] not in ("consent", "suppressed")
    )
    found = explain(day, DAY, lead=key(lead))
    assert (found["outcome"], found["stage"]) == ("unmatched", lead["stage"])
    assert found["products"]
    assert "chosen" not in {row["decision"] for row in found["products"]}


def test_the_rule_that_excluded_is_named_with_its_bound_and_the_side_not_the_value(day):
    below = next(
        row
        for row in mart(day, "leads")
        if row["bureau_score"] and row["bureau_score"] < 700 and row["exclusion_stage"] is None
    )
    found = explain(day, DAY, lead=key(below), product=("bank-000", "loan-0000"))
    (row,) = found["products"]
    assert {"step": "rules", "rule": "bureau_score ge 700", "answer": "below"} in row["verdicts"]
    assert "bureau_score ge 700: below" in row["why"]
    assert f"{below['bureau_score']:g}" not in json.dumps(found["products"])


def test_a_lead_that_was_set_aside_says_why(day):
    aside = next(row for row in mart(day, "leads") if row["exclusion_stage"] == "consent")
    found = explain(day, DAY, lead=key(aside))
    assert (found["outcome"], found["stage"], found["detail"]) == (
        "unmatched",
        "consent",
        "withdrawn",
    )
    assert found["products"] == []


def test_a_row_in_quarantine_is_found_by_the_name_it_bore_without_its_content(day):
    record = {
        "source": "channel-1",
        "file": "leads/channel-1/leads.csv",
        "line": 7,
        "column": "amount",
        "rule": "range",
        "severity": "critical",
        "rows": 1,
        "message": "-5 is below 0.01",
        "received": '"broken-1","Li Na","+8613800000000",-5',
    }
    with publishing(day.day_folder(day.quarantine / "leads", DAY), {}) as folder:
        write_parquet(pa.Table.from_pylist([record]), folder / "quarantine.parquet")
    found = explain(day, DAY, lead=("channel-1", "broken-1"))
    assert (found["outcome"], found["stage"], found["detail"]) == ("quarantined", "range", "amount")
    assert "Li Na" not in json.dumps(found)
    with pytest.raises(InputMissing, match="knows no lead channel-1/broken"):
        explain(day, DAY, lead=("channel-1", "broken"))


def test_a_product_adds_up_from_all_leads_to_its_matches(day):
    matches = Counter((row["institution_id"], row["product_id"]) for row in rows(day, "matches"))
    asked = sum(row["exclusion_stage"] is None for row in mart(day, "leads"))
    seen = 0
    for product in mart(day, "products"):
        name = (product["institution_id"], product["product_id"])
        found = explain(day, DAY, product=name)
        if not product["is_open"]:
            assert found["closed"] == "paused"
            continue
        seen += 1
        left = [row["leads"] for row in found["funnel"]]
        assert left[0] == asked
        assert left == sorted(left, reverse=True)
        assert left[-1] == left[-2] == sum(row["leads"] for row in found["decided"])
        decided = {row["decision"]: row["leads"] for row in found["decided"]}
        assert found["decided"][0]["decision"] == "chosen"
        assert decided["chosen"] + decided.get("drawn", 0) == matches[name]
        assert found["matches"] == matches[name] <= found["daily_quota"]
    assert seen > 5


def test_what_a_rule_alone_keeps_away_is_what_comes_in_without_it(day, tmp_path):
    name = (RULE["institution_id"], RULE["product_id"])
    found = explain(day, DAY, product=name)
    (alone,) = (
        row["leads"] for row in found["missed_by_one"] if row["attribute"] == "bureau_score"
    )
    without = write_day_before_matching(tmp_path, DAY, leads=200, products=12)
    run_matching(without, DAY)
    freed = explain(without, DAY, product=name)
    assert freed["funnel"][-1]["leads"] - found["funnel"][-1]["leads"] == alone > 0


@pytest.mark.parametrize(
    ("pair", "chosen", "why"),
    [
        ({"expected_value": 9.0}, [], "budget_or_tie"),
        ({"expected_value": 9.0, "price_of_quota": 9.0}, [], "price_of_quota"),
        ({"expected_value": 9.0, "is_worthwhile": False}, [], "low_value"),
        ({"expected_value": 9.0}, [{"institution_id": "a", "product_id": "z"}], "same_institution"),
        ({"expected_value": 9.0}, [{"product_id": f"{n}"} for n in range(2)], "better_offers"),
        ({"expected_value": 99.0}, [{"product_id": f"{n}"} for n in range(2)], "budget_or_tie"),
        ({"product_id": "0"}, [{"product_id": "0"}], "chosen"),
    ],
)
def test_what_decided_about_a_pair_follows_from_values_and_prices(pair, chosen, why):
    plain = {
        "institution_id": "a",
        "product_id": "p",
        "expected_value": 50.0,
        "price_of_quota": 0.0,
        "is_worthwhile": True,
    }
    others = [plain | {"institution_id": f"b{n}"} | match for n, match in enumerate(chosen)]
    if why == "chosen":
        others = [plain | chosen[0]]
    assert decision(plain | pair, others, most_offers=2) == why


def test_the_verb_prints_text_for_people_and_json_for_programs(day, capsys):
    lead = "/".join(key(rows(day, "matches")[0]))
    options = ["explain", "--home", f"{day.home}", "--date", f"{DAY}", "--lead", lead]
    assert main(options) == 0
    text = capsys.readouterr().out
    assert f"{lead} on {DAY}: matched" in text
    assert "offer 1: chosen" in text
    assert main([*options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "matched"
    product = ["explain", "--home", f"{day.home}", "--date", f"{DAY}"]
    assert main([*product, "--product", "bank-000/loan-0000"]) == 0
    assert "places filled" in capsys.readouterr().out


def test_unknown_names_end_with_1_and_impossible_ones_with_2(day, capsys):
    options = ["explain", "--home", f"{day.home}", "--date", f"{DAY}"]
    assert main([*options, "--lead", "channel-1/nobody"]) == 1
    assert main([*options, "--product", "bank-000/nothing"]) == 1
    assert "Nothing was explained" in capsys.readouterr().err
    assert main(options) == 2
    for impossible in ("nobody", "/x", "channel-1/", "CHANNEL/x", "a/b c"):
        assert main([*options, "--lead", impossible]) == 2
    assert main([*options[:-1], "2026-01-01", "--lead", "channel-1/x"]) == 1


def test_a_day_of_other_policies_is_not_explained_by_those_of_now(day, monkeypatch):
    monkeypatch.setattr(policy, "version", lambda *_: "another")
    with pytest.raises(InputMissing, match="those of now are another"):
        explain(day, DAY, product=("bank-000", "loan-0000"))
