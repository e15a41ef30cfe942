"""An explanation has a decision for every product of a lead and every lead of a product."""

import json
import shutil
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
from pipelines.explain import explain, format_explanation
from pipelines.explain.lead import explain_decision
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
def explained_home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a home whose matched day has binding quotas and a product with a rule of its own."""
    rules = pa.Table.from_pylist([RULE], SCHEMAS["product_rules"])
    home = tmp_path_factory.mktemp("explained")
    settings = write_day_before_matching(
        home, DAY, leads=200, products=12, product_rules_table=rules
    )
    run_matching(settings, DAY)
    return settings


def read_rows(settings: Settings, root: str) -> list[dict[str, Any]]:
    folder = settings.day_folder(getattr(settings, root), DAY)
    return pq.read_table(folder / f"{root}.parquet").to_pylist()


def read_mart(settings: Settings, name: str) -> list[dict[str, Any]]:
    return pq.read_table(settings.day_folder(settings.marts, DAY) / f"{name}.parquet").to_pylist()


def key(row: dict[str, Any]) -> tuple[str, str]:
    return row["channel_id"], row["lead_id"]


def test_a_matched_lead_has_every_product_with_its_offers_first(explained_home):
    offers = Counter(key(match) for match in read_rows(explained_home, "matches"))
    lead, count = offers.most_common(1)[0]
    explanation = explain(explained_home, DAY, lead=lead)
    assert explanation["outcome"] == "matched"
    assert len(explanation["products"]) == len(read_mart(explained_home, "products"))
    assert [row["rank"] for row in explanation["products"][:count]] == list(range(1, count + 1))
    assert {row["decision"] for row in explanation["products"][:count]} == {"chosen"}
    assert explanation["products"][-1]["decision"] == "closed"
    assert all(row["why"] for row in explanation["products"])


def test_what_the_person_is_shown_is_stated_in_both_languages(explained_home):
    offer = read_rows(explained_home, "offers")[0]
    explanation = explain(explained_home, DAY, lead=key(offer))
    own = [row for row in read_rows(explained_home, "offers") if key(row) == key(offer)]
    assert {(row["en"], row["zh"]) for row in explanation["words"]} == {
        (row["words"], row["words_zh"]) for row in own
    }
    assert f"      {offer['words_zh']}\n" in format_explanation(explanation)
    folder = explained_home.day_folder(explained_home.reasons, DAY)
    reasons = pq.read_table(folder / "unmatched.parquet").to_pylist()
    reason = next(row for row in reasons if row["strength_rank"] == 1 and row["person_en"])
    words = explain(explained_home, DAY, lead=key(reason))["words"]
    assert any(row["en"].startswith(reason["person_en"]) for row in words)
    assert any(row["zh"].startswith(reason["person_zh"]) for row in words)


def test_contradictions_of_a_business_are_named_without_a_figure(explained_home, tmp_path):
    offer = read_rows(explained_home, "offers")[0]
    row = dict.fromkeys(SCHEMAS["lead_contradictions"].names)
    row |= {name: offer[name] for name in ("channel_id", "lead_id")}
    row |= {"contradiction": "tax_above_revenue", "declared": 1234.0, "compared": 98765.0}
    home = Settings(home=shutil.copytree(explained_home.home, tmp_path / "home"))
    marts = home.day_folder(home.marts, DAY)
    table = pa.Table.from_pylist([row], SCHEMAS["lead_contradictions"])
    write_parquet(table, marts / "lead_contradictions.parquet")
    text = format_explanation(explain(home, DAY, lead=key(offer)))
    assert "contradict each other or the supply links: tax above revenue" in text
    assert "98765" not in text
    assert "1234" not in text
    assert "contradict" not in format_explanation(explain(explained_home, DAY, lead=key(offer)))


def test_figures_equal_the_scores_and_no_pair_is_unexplained(explained_home):
    pairs = {
        (*key(row), row["institution_id"], row["product_id"]): row
        for row in read_rows(explained_home, "pairs")
    }
    compared = undecided = 0
    sampled = [
        *read_rows(explained_home, "unmatched")[::10],
        *read_rows(explained_home, "matches")[::60],
    ]
    for lead in {key(row) for row in sampled}:
        for row in explain(explained_home, DAY, lead=lead)["products"]:
            scored = pairs.get((*lead, row["institution_id"], row["product_id"]))
            failed = [check for check in row["checks"] if check["answer"] != "met"]
            assert ("expected_value" in row) == (scored is not None)
            assert (scored is None) == bool(failed or row["decision"] == "closed")
            if scored:
                compared += 1
                assert row["p_approve"] == scored["p_approve"]
                assert row["expected_value"] == scored["expected_value"]
                undecided += row["decision"] == "other_limit"
    assert compared > 50
    assert undecided <= compared / 20  # places that a guarantee leaves open in whole leads


def test_an_unmatched_lead_has_its_stage_and_no_chosen_product(explained_home):
    lead = next(
        row
        for row in read_rows(explained_home, "unmatched")
        if row["stage"] not in ("consent", "suppressed")
    )
    explanation = explain(explained_home, DAY, lead=key(lead))
    assert (explanation["outcome"], explanation["stage"]) == ("unmatched", lead["stage"])
    assert explanation["products"]
    assert "chosen" not in {row["decision"] for row in explanation["products"]}


def test_a_failed_rule_is_stated_with_bound_and_side_but_not_the_value(explained_home):
    below = next(
        row
        for row in read_mart(explained_home, "leads")
        if row["bureau_score"] and row["bureau_score"] < 700 and row["exclusion_stage"] is None
    )
    explanation = explain(explained_home, DAY, lead=key(below), product=("bank-000", "loan-0000"))
    (row,) = explanation["products"]
    assert {"step": "rules", "rule": "bureau_score ge 700", "answer": "below"} in row["checks"]
    assert "bureau_score at least 700: below" in row["why"]
    assert f"{below['bureau_score']:g}" not in json.dumps(explanation["products"])


def test_an_excluded_lead_states_its_reason(explained_home):
    excluded = next(
        row for row in read_mart(explained_home, "leads") if row["exclusion_stage"] == "consent"
    )
    explanation = explain(explained_home, DAY, lead=key(excluded))
    assert (explanation["outcome"], explanation["stage"], explanation["detail"]) == (
        "unmatched",
        "consent",
        "withdrawn",
    )
    assert explanation["products"] == []


def test_a_quarantined_row_is_found_by_its_lead_id_without_its_content(explained_home):
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
    with publishing(
        explained_home.day_folder(explained_home.quarantine / "leads", DAY), {}
    ) as folder:
        write_parquet(pa.Table.from_pylist([record]), folder / "quarantine.parquet")
    explanation = explain(explained_home, DAY, lead=("channel-1", "broken-1"))
    assert (explanation["outcome"], explanation["stage"], explanation["detail"]) == (
        "quarantined",
        "range",
        "amount",
    )
    assert "Li Na" not in json.dumps(explanation)
    with pytest.raises(InputMissing, match="has no lead channel-1/broken"):
        explain(explained_home, DAY, lead=("channel-1", "broken"))


def test_the_leads_of_a_product_add_up_from_the_funnel_to_its_matches(explained_home):
    matches = Counter(
        (row["institution_id"], row["product_id"]) for row in read_rows(explained_home, "matches")
    )
    leads = sum(row["exclusion_stage"] is None for row in read_mart(explained_home, "leads"))
    open_products = 0
    for product in read_mart(explained_home, "products"):
        name = (product["institution_id"], product["product_id"])
        explanation = explain(explained_home, DAY, product=name)
        if not product["is_open"]:
            assert explanation["closed"] == "paused"
            continue
        open_products += 1
        left = [row["leads"] for row in explanation["funnel"]]
        assert left[0] == leads
        assert left == sorted(left, reverse=True)
        assert left[-1] == left[-2] == sum(row["leads"] for row in explanation["decisions"])
        decided = {row["decision"]: row["leads"] for row in explanation["decisions"]}
        assert explanation["decisions"][0]["decision"] == "chosen"
        assert decided["chosen"] + decided.get("explored", 0) == matches[name]
        assert explanation["matches"] == matches[name] <= explanation["daily_quota"]
    assert open_products > 5


def test_near_misses_of_a_rule_are_the_leads_that_come_in_without_it(explained_home, tmp_path):
    name = (RULE["institution_id"], RULE["product_id"])
    explanation = explain(explained_home, DAY, product=name)
    (near_misses,) = (
        row["leads"] for row in explanation["near_misses"] if row["attribute"] == "bureau_score"
    )
    without = write_day_before_matching(tmp_path, DAY, leads=200, products=12)
    run_matching(without, DAY)
    freed = explain(without, DAY, product=name)
    assert freed["funnel"][-1]["leads"] - explanation["funnel"][-1]["leads"] == near_misses > 0


@pytest.mark.parametrize(
    ("pair", "chosen", "decision"),
    [
        ({"net_value": 9.0}, [], "other_limit"),
        ({"net_value": 0.0}, [], "prices"),
        ({"net_value": 9.0, "is_worthwhile": False}, [], "low_value"),
        ({"is_worthwhile": False, "is_likely_enough": False}, [], "low_odds"),
        ({"net_value": 9.0}, [{"institution_id": "a", "product_id": "z"}], "same_institution"),
        ({"net_value": 9.0}, [{"product_id": f"{n}"} for n in range(2)], "better_offers"),
        ({"net_value": 99.0}, [{"product_id": f"{n}"} for n in range(2)], "other_limit"),
        ({"product_id": "0"}, [{"product_id": "0"}], "chosen"),
    ],
)
def test_the_decision_follows_from_values_and_prices(pair, chosen, decision):
    base = {
        "institution_id": "a",
        "product_id": "p",
        "net_value": 50.0,
        "is_worthwhile": True,
        "is_likely_enough": True,
    }
    others = [base | {"institution_id": f"b{n}"} | match for n, match in enumerate(chosen)]
    if decision == "chosen":
        others = [base | chosen[0]]
    assert explain_decision(base | pair, others, max_offers=2) == decision


def test_the_command_prints_text_or_json(explained_home, capsys):
    lead = "/".join(key(read_rows(explained_home, "matches")[0]))
    options = ["explain", "--home", f"{explained_home.home}", "--date", f"{DAY}", "--lead", lead]
    assert main(options) == 0
    text = capsys.readouterr().out
    assert f"{lead} on {DAY}: matched" in text
    assert "offer 1: chosen" in text
    assert main([*options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "matched"
    product = ["explain", "--home", f"{explained_home.home}", "--date", f"{DAY}"]
    assert main([*product, "--product", "bank-000/loan-0000"]) == 0
    assert "leads used" in capsys.readouterr().out


def test_unknown_names_exit_with_1_and_malformed_ones_with_2(explained_home, capsys):
    options = ["explain", "--home", f"{explained_home.home}", "--date", f"{DAY}"]
    assert main([*options, "--lead", "channel-1/nobody"]) == 1
    assert main([*options, "--product", "bank-000/nothing"]) == 1
    assert "Nothing was explained" in capsys.readouterr().err
    assert main(options) == 2
    for malformed in ("nobody", "/x", "channel-1/", "CHANNEL/x", "a/b c"):
        assert main([*options, "--lead", malformed]) == 2
    assert main([*options[:-1], "2026-01-01", "--lead", "channel-1/x"]) == 1


def test_a_day_of_other_policies_is_not_explained(explained_home, monkeypatch):
    monkeypatch.setattr(policy, "version", lambda *_: "another")
    with pytest.raises(InputMissing, match="policies are another"):
        explain(explained_home, DAY, product=("bank-000", "loan-0000"))
