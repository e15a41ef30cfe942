"""A change planted in published days drifts under its own group, and nothing else does."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.core.settings import Settings
from pipelines.evaluation.drift import Drift, Figure, measure_drift
from pipelines.evaluation.drift.approval_drift import p_values_of_approvals
from tests.helpers.drifted_home import (
    CHANGED_DAYS,
    CHANNEL,
    DAYS,
    INDUSTRY,
    INSTITUTION,
    LAST,
    change_where,
    publish_changed_days,
    publish_decided_days,
    publish_steady_days,
    read_marts,
    replace_column,
    republish,
)


def drifting(found: Drift, *topics: str) -> set[tuple[str, str, str]]:
    """Return measure, grouping and group of the figures that drift, of some topics or of all."""
    return {
        (figure.measure, figure.grouping, figure.group)
        for figure in found.figures
        if figure.state == "drift" and (not topics or figure.topic in topics)
    }


def find_figure(found: Drift, measure: str, group: str = "") -> Figure:
    (figure,) = (row for row in found.figures if (row.measure, row.group) == (measure, group))
    return figure


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The home of days without any change; read only."""
    return publish_steady_days(tmp_path_factory.mktemp("steady"))


def test_nothing_drifts_without_a_change(steady: Settings):
    found = [measure_drift(steady, day) for day in DAYS]
    figures = [figure for each in found for figure in each.figures]
    assert len(figures) > 500
    assert {figure.topic for figure in figures} == {
        *("leads", "scores", "volume", "cost", "changed", "offer")
    }
    assert [figure for figure in figures if figure.state == "drift"] == []


def test_the_first_days_have_no_reference(steady: Settings):
    found = measure_drift(steady, DAYS[4])
    assert found.reference_days == tuple(f"{day}" for day in DAYS[:2])
    assert not found.has_reference
    assert "leads" not in {figure.topic for figure in found.figures}


def test_a_day_that_is_not_published_has_no_figures(steady: Settings):
    assert measure_drift(steady, LAST + timedelta(days=40)).figures == ()


def test_later_days_do_not_change_the_figures(steady: Settings, tmp_path: Path):
    shutil.copytree(steady.home, tmp_path / "home")
    for day in DAYS[9:]:
        shutil.rmtree(tmp_path / "home" / "marts" / f"date={day}")
        shutil.rmtree(tmp_path / "home" / "pairs" / f"date={day}")
    assert measure_drift(Settings(home=tmp_path / "home"), DAYS[8]) == measure_drift(
        steady, DAYS[8]
    )


def test_the_number_of_threads_does_not_change_the_figures(steady: Settings):
    assert measure_drift(steady.model_copy(update={"threads": 1}), LAST) == measure_drift(
        steady, LAST
    )


def lower_scores(leads: pa.Table) -> pa.Table:
    return change_where(
        leads, "channel_id", CHANNEL, "bureau_score", lambda old: pc.subtract(old, 150.0)
    )


def test_a_channel_that_deteriorates_drifts_under_its_name(steady: Settings, tmp_path: Path):
    settings = publish_changed_days(steady, tmp_path / "home", leads=lower_scores)
    found = measure_drift(settings, LAST)
    drifting_figures = drifting(found)
    assert {("bureau_score", "channel", CHANNEL), ("pd", "channel", CHANNEL)} <= drifting_figures
    assert {group for _, grouping, group in drifting_figures if grouping == "channel"} == {CHANNEL}
    figure = find_figure(found, "bureau_score", CHANNEL)
    assert figure.drift_threshold > 0.25
    assert figure.p_value is not None
    assert figure.p_value < 0.001
    assert figure.reference_days == len(DAYS) - len(CHANGED_DAYS)
    assert drifting(measure_drift(settings, DAYS[8])) == set()


def test_invented_phones_drift(steady: Settings, tmp_path: Path):
    def invented(leads: pa.Table) -> pa.Table:
        one_in_five = pa.array([n % 5 == 0 for n in range(len(leads))])
        return change_where(
            leads,
            *("channel_id", CHANNEL, "exclusion_detail"),
            lambda old: pc.if_else(one_in_five, "phone_invalid", old),
        )

    drifting_figures = drifting(
        measure_drift(publish_changed_days(steady, tmp_path / "home", leads=invented), LAST),
        "leads",
    )
    assert ("exclusion_detail", "channel", CHANNEL) in drifting_figures


def test_a_value_that_goes_missing_drifts(steady: Settings, tmp_path: Path):
    def lost(leads: pa.Table) -> pa.Table:
        return change_where(
            leads, "channel_id", CHANNEL, "housing", lambda old: pa.nulls(len(old), old.type)
        )

    drifting_figures = drifting(
        measure_drift(publish_changed_days(steady, tmp_path / "home", leads=lost), LAST), "leads"
    )
    assert {row for row in drifting_figures if row[1] == "channel"} == {
        ("housing", "channel", CHANNEL)
    }


def test_the_category_that_moved_max_is_named_unless_it_is_rare(steady: Settings, tmp_path: Path):
    def free_text(leads: pa.Table) -> pa.Table:
        leads = replace_column(leads, "purpose", pa.array([f"for {n}" for n in range(len(leads))]))
        every_other = pa.array([n % 2 == 0 for n in range(len(leads))])
        return change_where(
            leads,
            *("channel_id", CHANNEL, "housing"),
            lambda old: pc.if_else(every_other, "rent", old),
        )

    found = measure_drift(publish_changed_days(steady, tmp_path / "home", leads=free_text), LAST)
    housing = find_figure(found, "housing", CHANNEL)
    assert housing.category == "rent"
    assert housing.level == pytest.approx(2 / 3, abs=0.05)
    assert housing.reference_level == pytest.approx(1 / 3, abs=0.05)
    assert find_figure(found, "purpose").category == "others"
    assert not any(figure.category.startswith("for ") for figure in found.figures)


def test_a_falling_sector_drifts_under_its_industry(steady: Settings, tmp_path: Path):
    def fallen(leads: pa.Table) -> pa.Table:
        return change_where(
            leads, "industry", INDUSTRY, "revenue_annual", lambda old: pc.multiply(old, 0.4)
        )

    drifting_figures = drifting(
        measure_drift(publish_changed_days(steady, tmp_path / "home", leads=fallen), LAST), "leads"
    )
    assert {group for _, grouping, group in drifting_figures if grouping == "industry"} == {
        INDUSTRY
    }
    assert ("revenue_annual", "industry", INDUSTRY) in drifting_figures


def test_four_times_the_leads_of_a_channel_drift(steady: Settings, tmp_path: Path):
    def more(leads: pa.Table) -> pa.Table:
        return pa.concat_tables(
            [leads] + [leads.filter(pc.equal(leads["channel_id"], CHANNEL))] * 3
        )

    found = measure_drift(publish_changed_days(steady, tmp_path / "home", leads=more), LAST)
    assert drifting(found, "volume") == {("leads a day", "channel", CHANNEL)}
    assert find_figure(found, "leads a day", CHANNEL).distance == pytest.approx(3, abs=0.5)


def test_a_more_expensive_channel_drifts(steady: Settings, tmp_path: Path):
    def more_expensive(channels: pa.Table) -> pa.Table:
        return change_where(
            channels, "channel_id", CHANNEL, "cost_per_lead", lambda old: pc.multiply(old, 1.7)
        )

    found = measure_drift(
        publish_changed_days(steady, tmp_path / "home", channels=more_expensive), LAST
    )
    assert drifting(found, "cost") == {("cost per lead", "channel", CHANNEL)}


def capped(products: pa.Table) -> pa.Table:
    for name in ("apr_min", "apr_max"):
        products = replace_column(products, name, pc.multiply(products[name], 2 / 3))
    return products


def test_a_price_cap_drifts_on_its_day_and_its_prices_afterwards(steady: Settings, tmp_path: Path):
    settings = publish_changed_days(steady, tmp_path / "home", products=capped)
    first, later = measure_drift(settings, CHANGED_DAYS[0]), measure_drift(settings, LAST)
    assert drifting(first, "changed", "offer") == {
        ("annual cost", "all", ""),
        ("highest annual cost", "all", ""),
    }
    assert find_figure(first, "annual cost").value == 1
    assert drifting(later, "changed", "offer") == {("highest annual cost", "all", "")}


def test_closed_products_drift(steady: Settings, tmp_path: Path):
    def closed(products: pa.Table) -> pa.Table:
        return replace_column(
            products, "is_open", pa.array([n % 2 == 0 for n in range(len(products))])
        )

    drifting_figures = drifting(
        measure_drift(
            publish_changed_days(steady, tmp_path / "home", products=closed), CHANGED_DAYS[0]
        ),
        "changed",
        "offer",
    )
    assert drifting_figures >= {("status", "all", ""), ("offered products", "all", "")}


def test_products_that_their_institutions_close_do_not_drift(steady: Settings, tmp_path: Path):
    def paused(products: pa.Table) -> pa.Table:
        is_paused = pc.is_in(
            products["product_id"], pa.array(products["product_id"].to_pylist()[:5])
        )
        reasons = pc.if_else(is_paused, "paused", products["closed_reason"])
        return replace_column(
            replace_column(products, "is_open", pc.and_(products["is_open"], pc.invert(is_paused))),
            *("closed_reason", reasons),
        )

    settings = publish_changed_days(steady, tmp_path / "home", products=paused)
    assert drifting(measure_drift(settings, LAST), "changed", "offer") == set()


def test_products_that_vanish_without_a_declaration_drift(steady: Settings, tmp_path: Path):
    settings = publish_changed_days(
        steady, tmp_path / "home", products=lambda products: products.slice(5)
    )
    assert drifting(measure_drift(settings, LAST), "offer") == {("offered products", "all", "")}


def test_more_products_do_not_drift(steady: Settings, tmp_path: Path):
    def more(products: pa.Table) -> pa.Table:
        added = products.slice(0, 5)
        names = pa.array([f"{name}-new" for name in added["product_id"].to_pylist()])
        return pa.concat_tables([products, replace_column(added, "product_id", names)])

    settings = publish_changed_days(steady, tmp_path / "home", products=more)
    assert drifting(measure_drift(settings, LAST), "changed", "offer") == set()


@pytest.mark.parametrize(("institutions", "drifts"), [(2, False), (3, True)])
def test_prices_that_several_institutions_change_at_once_drift(
    steady: Settings, tmp_path: Path, institutions: int, drifts: bool
):
    def repriced(products: pa.Table) -> pa.Table:
        """Change half of the products, of so many institutions."""
        owners = pa.array([f"bank-{n * institutions // len(products):03d}" for n in range(24)])
        is_changed = pa.array([n % 2 == 0 for n in range(len(products))])
        prices = pc.if_else(is_changed, pc.multiply(products["price"], 1.1), products["price"])
        return replace_column(replace_column(products, "institution_id", owners), "price", prices)

    def owned(products: pa.Table) -> pa.Table:
        owners = pa.array([f"bank-{n * institutions // len(products):03d}" for n in range(24)])
        return replace_column(products, "institution_id", owners)

    settings = publish_changed_days(steady, tmp_path / "home", products=repriced)
    before = CHANGED_DAYS[0] - timedelta(days=1)
    tables = read_marts(settings.home, before)
    republish(
        settings.day_folder(settings.marts, before),
        tables | {"products": owned(tables["products"])},
    )
    found = drifting(measure_drift(settings, CHANGED_DAYS[0]), "changed")
    assert (("price", "all", "") in found) == drifts


def test_other_models_begin_a_new_reference(steady: Settings, tmp_path: Path):
    settings = publish_changed_days(
        steady, tmp_path / "home", models="2026-11-16:def", leads=lower_scores
    )
    found = measure_drift(settings, LAST)
    assert ("bureau_score", "channel", CHANNEL) in drifting(found)
    assert [figure for figure in found.figures if figure.topic == "scores"] == []


def tightened(day: date, institution: str) -> float:
    return 0.1 if institution == INSTITUTION and day >= CHANGED_DAYS[0] else 0.4


def test_an_institution_that_tightens_drifts_under_its_name(tmp_path: Path):
    found = measure_drift(publish_decided_days(tmp_path, tightened), LAST)
    assert drifting(found) == {("approved to predicted", "institution", INSTITUTION)}
    figure = find_figure(found, "approved to predicted", INSTITUTION)
    assert figure.value < 0.7
    assert figure.reference == pytest.approx(1, abs=0.1)


def test_usual_variation_of_institutions_does_not_drift(tmp_path: Path):
    def varying(day: date, institution: str) -> float:
        return 0.4 + 0.05 * ((int(institution[-3:]) + day.toordinal() // 7) % 3 - 1)

    assert drifting(measure_drift(publish_decided_days(tmp_path, varying), LAST)) == set()


def test_an_institution_that_was_always_mispredicted_does_not_drift(tmp_path: Path):
    def mispredicted(day: date, institution: str) -> float:
        return 0.1 if institution == INSTITUTION else 0.4

    assert drifting(measure_drift(publish_decided_days(tmp_path, mispredicted), LAST)) == set()


def test_a_change_toward_the_prediction_does_not_drift(tmp_path: Path):
    def corrected(day: date, institution: str) -> float:
        return 0.1 if institution == INSTITUTION and day < CHANGED_DAYS[0] else 0.4

    assert drifting(measure_drift(publish_decided_days(tmp_path, corrected), LAST)) == set()


def test_another_mix_of_institutions_does_not_drift(tmp_path: Path):
    """Some institutions report twice a week, so that on other days the others are most of all."""

    def generous_ones_pause(day: date, institution: str) -> float:
        is_generous = int(institution[-3:]) < 8
        if is_generous and day >= DAYS[-4]:
            return float("nan")
        return 0.4 if is_generous else 0.1

    found = measure_drift(publish_decided_days(tmp_path, generous_ones_pause), LAST)
    assert drifting(found) == set()
    figure = find_figure(found, "approved to predicted")
    assert figure.value == pytest.approx(0.25, abs=0.1)
    assert figure.reference == pytest.approx(0.25, abs=0.1)


def test_approvals_that_take_longer_than_declines_do_not_drift(tmp_path: Path):
    settings = publish_decided_days(tmp_path, lambda day, institution: 0.4, days_to_approval=3)
    found = measure_drift(settings, LAST)
    assert drifting(found) == set()
    figure = find_figure(found, "approved to predicted")
    assert figure.value < 0.6
    assert figure.reference == pytest.approx(figure.value, rel=0.15)


@pytest.mark.parametrize(("groups", "approvals_before"), [(1, 3), (1, 12), (8, 12), (8, 100)])
def test_chance_alone_is_as_rare_as_the_p_values_say(groups: int, approvals_before: int):
    """The usual ratio of a group is known from a few approvals only."""
    random = np.random.default_rng(7)
    rare = []
    for _ in range(20_000 // groups):
        shape = np.full(groups, float(approvals_before))
        expected = random.uniform(1, 12, groups)
        approved = random.poisson(expected * random.gamma(shape) / shape).astype(np.float64)
        rare.append(p_values_of_approvals(approved, expected, expected**2 / shape) <= 0.01)
    assert np.mean(rare) <= 0.0115


def test_few_approvals_are_no_change_of_an_institution_that_was_mispredicted():
    """0 of 33 matches with 7.3 predicted approvals, after 10 approvals with 24 predicted ones."""
    expected = np.array([7.3 * 12 / 26])
    assert p_values_of_approvals(np.zeros(1), expected, expected**2 / 12)[0] > 0.05
    many = np.array([7.3])
    assert p_values_of_approvals(np.zeros(1), many, many**2 / 200)[0] < 0.005
