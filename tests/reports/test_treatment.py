"""Groups are compared as other code does; a biased lender is found and an unbiased one is not."""

from dataclasses import replace
from datetime import date, timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fairlearn.metrics import (
    MetricFrame,
    count,
    demographic_parity_difference,
    demographic_parity_ratio,
    mean_prediction,
    selection_rate,
)
from scipy.stats import t

from expectations import policy
from pipelines.reports.findings import treatment_findings
from pipelines.reports.sections.fairness.comparison import Comparison, compare_groups
from pipelines.reports.sections.fairness.treatment import Treatment, compare_window
from tests.helpers.treated_groups import DAY, DECIDED, make_world, register_world


def treat(world: dict[str, pa.Table], threads: int = 1) -> Treatment:
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        register_world(connection, world)
        return compare_window(connection, DAY, [DECIDED])


def find(treatment: Treatment, measure: str, group: str) -> Comparison:
    rows = (row for row in treatment.groups if (row.measure, row.group) == (measure, group))
    return next(rows)


@pytest.fixture(scope="module")
def world() -> dict[str, pa.Table]:
    return make_world(1)


@pytest.fixture(scope="module")
def treatment(world) -> Treatment:
    return treat(world)


def joined(world: dict[str, pa.Table]) -> pd.DataFrame:
    """Return the world with one row a person, by pandas."""
    keys = ["channel_id", "lead_id"]
    people = world["lead_attributes"].to_pandas()
    matches = world["window_matches"].to_pandas().drop(columns="date")
    outcomes = world["window_outcomes"].to_pandas()[[*keys, "event", "apr"]]
    return people.merge(matches, on=keys).merge(outcomes, on=keys)


@pytest.mark.parametrize("attribute", ["gender", "age", "region"])
def test_rates_differences_and_ratios_equal_fairlearns(world, treatment, attribute):
    rows = joined(world)
    is_approved = (rows["event"] != "declined").astype(int)
    arguments = {"y_true": is_approved, "y_pred": is_approved}
    frame = MetricFrame(
        metrics={"rate": selection_rate, "people": count},
        sensitive_features=rows[attribute],
        **arguments,
    ).by_group
    found = {
        row.group: row
        for row in treatment.groups
        if (row.measure, row.attribute) == ("approved", attribute)
    }
    assert {name: row.people for name, row in found.items()} == frame["people"].to_dict()
    rates = {name: row.value for name, row in found.items()}
    assert rates == pytest.approx(frame["rate"].to_dict(), abs=1e-6)
    sensitive = {"sensitive_features": rows[attribute]}
    assert max(rates.values()) - min(rates.values()) == pytest.approx(
        demographic_parity_difference(**arguments, **sensitive), abs=2e-6
    )
    assert min(rates.values()) / max(rates.values()) == pytest.approx(
        demographic_parity_ratio(**arguments, **sensitive), abs=1e-5
    )
    reference = next(iter(found.values())).reference
    for name, row in found.items():
        if name != reference:
            assert row.plain.difference == pytest.approx(rates[name] - rates[reference], abs=2e-6)
            assert row.plain.ratio == pytest.approx(rates[name] / rates[reference], abs=1e-5)


def test_prices_odds_and_errors_equal_fairlearns(world, treatment):
    rows = joined(world)
    is_approved = (rows["event"] != "declined").astype(float)
    approved = rows[is_approved == 1]
    measured = {
        "suggested_apr": (rows, rows["suggested_apr"]),
        "odds": (rows, rows["p_approve"]),
        "approval_error": (rows, is_approved - rows["p_approve"]),
        "approval_brier": (rows, (is_approved - rows["p_approve"]) ** 2),
        "charged_apr": (approved, approved["apr"]),
        "take_up_error": (approved, (approved["event"] == "funded") - approved["p_fund"]),
    }
    for measure, (people, values) in measured.items():
        means = MetricFrame(
            metrics=mean_prediction,
            y_true=values,
            y_pred=values,
            sensitive_features=people["gender"],
        ).by_group.to_dict()
        found = {name: find(treatment, measure, name).value for name in means}
        assert found == pytest.approx(means, rel=1e-4, abs=1e-6), measure


def test_a_difference_that_legitimate_columns_explain_is_none_among_comparable_people(treatment):
    row = find(treatment, "approved", "female")
    assert row.plain.difference_high < -0.05
    assert row.controlled.difference_low < 0 < row.controlled.difference_high
    assert row.compared == 1.0


def test_controls_are_the_estimates_and_the_test_of_mantel_and_haenszel():
    strata = [(40, 12, 60, 30), (25, 20, 35, 31), (50, 5, 20, 4), (7, 3, 0, 0)]
    heads = {
        "measure": "approved",
        "institution_id": "",
        "attribute": "gender",
        "group_name": "female",
        "reference": "male",
    }
    names = ("people", "total", "reference_people", "reference_total")
    sums = [dict(zip(names, map(sum, zip(*strata, strict=True)), strict=True))]
    rows = [
        heads
        | {"is_controlled": at > 0, "squares": row["total"]}
        | {"reference_squares": row["reference_total"]}
        | row
        for at, row in enumerate([*sums, *(dict(zip(names, s, strict=True)) for s in strata)])
    ]
    ((comparison,), _) = compare_groups(pa.Table.from_pylist(rows), 10)
    observed = expected = variance = over = under = weight = 0.0
    for n, yes, m, other_yes in strata[:3]:
        all_people, all_yes = n + m, yes + other_yes
        observed += yes
        expected += n * all_yes / all_people
        variance += n * m * all_yes * (all_people - all_yes) / (all_people**2 * (all_people - 1))
        over += yes * m / all_people
        under += other_yes * n / all_people
        weight += n * m / all_people
    found = comparison.controlled
    assert found.ratio == pytest.approx(over / under, rel=1e-5)
    assert found.difference == pytest.approx((over - under) / weight, rel=1e-5)
    half = (found.difference_high - found.difference_low) / 2
    freedom = sum(n + m - 1 for n, _, m, _ in strata[:3]) - 1
    assert half == pytest.approx(t.ppf(0.975, freedom) * np.sqrt(variance) / weight, rel=1e-4)
    statistic = (abs(observed - expected) - 0.5) / np.sqrt(variance)
    assert found.p_value == pytest.approx(2 * t.sf(statistic, freedom), rel=1e-4)
    assert comparison.compared == pytest.approx(115 / 122, abs=1e-5)


def test_small_groups_are_withheld(world):
    small = policy.fairness().min_group - 1
    attributes = world["lead_attributes"].to_pandas()
    attributes["ethnicity"] = ["Han"] * len(attributes)
    attributes.loc[: small - 1, "ethnicity"] = "Dai"
    changed = world | {"lead_attributes": pa.Table.from_pandas(attributes, preserve_index=False)}
    treatment = treat(changed)
    assert "Dai" not in str(treatment)
    assert treatment.withheld["ethnicity"] == 1
    assert find(treatment, "approved", "Han").is_reference


def test_a_biased_lender_is_found_and_the_finding_names_it():
    treatment = treat(make_world(3, bias=2.0))
    (row,) = treatment.flagged("approved")
    assert (row.institution_id, row.attribute, row.group) == ("lender-0", "gender", "female")
    assert row.controlled.ratio < 0.8
    (finding,) = treatment_findings(treatment)
    assert (finding.id, finding.where, finding.amount) == ("lender_approval_gap", "lender-0", 1)
    assert "lender-0, gender: " in finding.evidence


def test_a_lender_that_charges_a_group_more_is_found():
    (row,) = treat(make_world(4, surcharge=0.03)).flagged("charged_apr")
    assert (row.institution_id, row.group) == ("lender-0", "female")
    assert row.controlled.difference == pytest.approx(0.03, abs=0.01)


def test_a_small_difference_is_no_finding_however_certain():
    treatment = treat(make_world(4, surcharge=0.004, lenders=2))
    assert treatment.flagged("charged_apr") == []


def alarms(seeds: range, **world: int) -> list[int]:
    return [
        seed
        for seed in seeds
        if any(row.is_beyond for row in treat(make_world(seed, **world)).lenders)
    ]


def test_an_unbiased_world_raises_no_alarm():
    assert len(alarms(range(100, 120), lenders=5)) <= 1


@pytest.mark.prove
def test_an_unbiased_world_raises_no_alarm_in_95_of_100_seeds():
    assert len(alarms(range(1000, 1100))) <= 5


def test_only_attributes_that_a_law_in_force_protects_there_are_judged(world):
    assert {row.attribute for row in treat(world).lenders} == {"age", "gender"}
    abroad = world["window_leads"].to_pandas().assign(country="BR")
    elsewhere = world | {"window_leads": pa.Table.from_pandas(abroad, preserve_index=False)}
    assert treat(elsewhere).lenders_compared == 0


@pytest.mark.parametrize(
    ("day", "standard"),
    [(date(2026, 7, 20), "effects"), (date(2026, 7, 21), "treatment")],
)
def test_the_law_of_the_day_counts(day: date, standard: str):
    (law,) = (law for law in policy.fairness().laws if law.jurisdiction == "US" and law.holds(day))
    assert law.standard == standard
    assert "age" in law.attributes
    assert not law.read_by_lawyer


def test_row_order_and_threads_do_not_change_a_figure(world, treatment):
    order = np.random.default_rng(5).permutation(world["window_leads"].num_rows)
    shuffled = {name: table.take(pa.array(order)) for name, table in world.items()}
    assert treat(shuffled, threads=2) == treatment


def test_people_without_decisions_old_enough_do_not_count_as_decided(world):
    young = {
        name: table.set_column(0, "date", pa.array([DAY - timedelta(days=1)] * table.num_rows))
        if table.column_names[0] == "date"
        else table
        for name, table in world.items()
    }
    treatment = treat(young)
    assert {row.measure for row in treatment.groups} == {
        *("matched", "offers", "suggested_apr", "odds")
    }
    assert replace(treatment, groups=()).lenders == ()
