"""What is planted in published days is told under its own group, and nothing else is."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.core.settings import Settings
from pipelines.evaluation.drift import Drift, Figure, drift
from tests.helpers.drifted_home import (
    CHANNEL,
    DAYS,
    INDUSTRY,
    INSTITUTION,
    LAST,
    STRUCK,
    decided_days,
    publish_calm,
    replaced,
    struck,
    where,
)


def drifting(found: Drift, *topics: str) -> set[tuple[str, str, str]]:
    """Return what drifts of which group, of some topics or of all."""
    return {
        (figure.what, figure.grouping, figure.group)
        for figure in found.figures
        if figure.state == "drift" and (not topics or figure.topic in topics)
    }


def one(found: Drift, what: str, group: str = "") -> Figure:
    (figure,) = (row for row in found.figures if (row.what, row.group) == (what, group))
    return figure


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The home of days on which nothing changes; not to be changed."""
    return publish_calm(tmp_path_factory.mktemp("calm"))


def test_nothing_is_told_where_nothing_changes(calm: Settings):
    found = [drift(calm, day) for day in DAYS]
    figures = [figure for each in found for figure in each.figures]
    assert len(figures) > 500
    assert {figure.topic for figure in figures} == {
        *("leads", "scores", "volume", "cost", "changed", "offer")
    }
    assert [figure for figure in figures if figure.state == "drift"] == []


def test_the_first_days_have_no_reference(calm: Settings):
    found = drift(calm, DAYS[4])
    assert found.reference_days == tuple(f"{day}" for day in DAYS[:2])
    assert not found.has_reference
    assert "leads" not in {figure.topic for figure in found.figures}


def test_a_day_that_is_not_published_has_no_figures(calm: Settings):
    assert drift(calm, LAST + timedelta(days=40)).figures == ()


def test_later_days_do_not_change_what_is_told(calm: Settings, tmp_path: Path):
    shutil.copytree(calm.home, tmp_path / "home")
    for day in DAYS[9:]:
        shutil.rmtree(tmp_path / "home" / "marts" / f"date={day}")
        shutil.rmtree(tmp_path / "home" / "pairs" / f"date={day}")
    assert drift(Settings(home=tmp_path / "home"), DAYS[8]) == drift(calm, DAYS[8])


def test_the_number_of_threads_changes_nothing(calm: Settings):
    assert drift(calm.model_copy(update={"threads": 1}), LAST) == drift(calm, LAST)


def lower_scores(leads: pa.Table) -> pa.Table:
    return where(leads, "channel_id", CHANNEL, "bureau_score", lambda old: pc.subtract(old, 150.0))


def test_a_channel_that_turns_bad_is_told_under_its_name(calm: Settings, tmp_path: Path):
    settings = struck(calm, tmp_path / "home", leads=lower_scores)
    found = drift(settings, LAST)
    told = drifting(found)
    assert {("bureau_score", "channel", CHANNEL), ("pd", "channel", CHANNEL)} <= told
    assert {group for _, grouping, group in told if grouping == "channel"} == {CHANNEL}
    figure = one(found, "bureau_score", CHANNEL)
    assert figure.threshold > 0.25
    assert figure.p_value is not None
    assert figure.p_value < 0.001
    assert figure.reference_days == len(DAYS) - len(STRUCK)
    assert drifting(drift(settings, DAYS[8])) == set()


def test_invented_phones_are_told(calm: Settings, tmp_path: Path):
    def invented(leads: pa.Table) -> pa.Table:
        one_in_five = pa.array([n % 5 == 0 for n in range(len(leads))])
        return where(
            leads,
            *("channel_id", CHANNEL, "exclusion_detail"),
            lambda old: pc.if_else(one_in_five, "phone_invalid", old),
        )

    told = drifting(drift(struck(calm, tmp_path / "home", leads=invented), LAST), "leads")
    assert ("exclusion_detail", "channel", CHANNEL) in told


def test_a_value_that_goes_missing_is_told(calm: Settings, tmp_path: Path):
    def lost(leads: pa.Table) -> pa.Table:
        return where(
            leads, "channel_id", CHANNEL, "housing", lambda old: pa.nulls(len(old), old.type)
        )

    told = drifting(drift(struck(calm, tmp_path / "home", leads=lost), LAST), "leads")
    assert {what for what in told if what[1] == "channel"} == {("housing", "channel", CHANNEL)}


def test_the_value_that_moved_most_is_named_unless_few_leads_have_it(
    calm: Settings, tmp_path: Path
):
    def own_words(leads: pa.Table) -> pa.Table:
        leads = replaced(leads, "purpose", pa.array([f"for {n}" for n in range(len(leads))]))
        every_other = pa.array([n % 2 == 0 for n in range(len(leads))])
        return where(
            leads,
            *("channel_id", CHANNEL, "housing"),
            lambda old: pc.if_else(every_other, "rent", old),
        )

    found = drift(struck(calm, tmp_path / "home", leads=own_words), LAST)
    housing = one(found, "housing", CHANNEL)
    assert housing.level_of == "rent"
    assert housing.level == pytest.approx(2 / 3, abs=0.05)
    assert housing.reference_level == pytest.approx(1 / 3, abs=0.05)
    assert one(found, "purpose").level_of == "others"
    assert not any(figure.level_of.startswith("for ") for figure in found.figures)


def test_a_sector_that_falls_is_told_under_its_industry(calm: Settings, tmp_path: Path):
    def fallen(leads: pa.Table) -> pa.Table:
        return where(
            leads, "industry", INDUSTRY, "revenue_annual", lambda old: pc.multiply(old, 0.4)
        )

    told = drifting(drift(struck(calm, tmp_path / "home", leads=fallen), LAST), "leads")
    assert {group for _, grouping, group in told if grouping == "industry"} == {INDUSTRY}
    assert ("revenue_annual", "industry", INDUSTRY) in told


def test_a_channel_that_brings_four_times_the_leads_is_told(calm: Settings, tmp_path: Path):
    def more(leads: pa.Table) -> pa.Table:
        return pa.concat_tables(
            [leads] + [leads.filter(pc.equal(leads["channel_id"], CHANNEL))] * 3
        )

    found = drift(struck(calm, tmp_path / "home", leads=more), LAST)
    assert drifting(found, "volume") == {("leads a day", "channel", CHANNEL)}
    assert one(found, "leads a day", CHANNEL).distance == pytest.approx(3, abs=0.5)


def test_a_dearer_channel_is_told(calm: Settings, tmp_path: Path):
    def dearer(channels: pa.Table) -> pa.Table:
        return where(
            channels, "channel_id", CHANNEL, "cost_per_lead", lambda old: pc.multiply(old, 1.7)
        )

    found = drift(struck(calm, tmp_path / "home", channels=dearer), LAST)
    assert drifting(found, "cost") == {("cost per lead", "channel", CHANNEL)}


def capped(products: pa.Table) -> pa.Table:
    for name in ("apr_min", "apr_max"):
        products = replaced(products, name, pc.multiply(products[name], 2 / 3))
    return products


def test_a_price_cap_is_told_on_its_day_and_its_prices_after(calm: Settings, tmp_path: Path):
    settings = struck(calm, tmp_path / "home", products=capped)
    first, later = drift(settings, STRUCK[0]), drift(settings, LAST)
    assert drifting(first, "changed", "offer") == {
        ("annual cost", "all", ""),
        ("highest annual cost", "all", ""),
    }
    assert one(first, "annual cost").value == 1
    assert drifting(later, "changed", "offer") == {("highest annual cost", "all", "")}


def test_products_that_are_closed_are_told(calm: Settings, tmp_path: Path):
    def closed(products: pa.Table) -> pa.Table:
        return replaced(products, "is_open", pa.array([n % 2 == 0 for n in range(len(products))]))

    told = drifting(
        drift(struck(calm, tmp_path / "home", products=closed), STRUCK[0]), "changed", "offer"
    )
    assert told >= {("status", "all", ""), ("open products", "all", "")}


def test_other_models_begin_a_new_reference(calm: Settings, tmp_path: Path):
    settings = struck(calm, tmp_path / "home", models="2026-11-16:def", leads=lower_scores)
    found = drift(settings, LAST)
    assert ("bureau_score", "channel", CHANNEL) in drifting(found)
    assert [figure for figure in found.figures if figure.topic == "scores"] == []


def tightened(day: date, institution: str) -> float:
    return 0.1 if institution == INSTITUTION and day >= STRUCK[0] else 0.4


def test_an_institution_that_tightens_is_told_under_its_name(tmp_path: Path):
    found = drift(decided_days(tmp_path, tightened), LAST)
    assert drifting(found) == {("approved to predicted", "institution", INSTITUTION)}
    figure = one(found, "approved to predicted", INSTITUTION)
    assert figure.value < 0.7
    assert figure.reference == pytest.approx(1, abs=0.1)


def test_institutions_in_their_usual_moods_are_not_told(tmp_path: Path):
    def moody(day: date, institution: str) -> float:
        return 0.4 + 0.05 * ((int(institution[-3:]) + day.toordinal() // 7) % 3 - 1)

    assert drifting(drift(decided_days(tmp_path, moody), LAST)) == set()


def test_an_institution_that_was_never_predicted_well_has_not_changed(tmp_path: Path):
    def odd(day: date, institution: str) -> float:
        return 0.1 if institution == INSTITUTION else 0.4

    assert drifting(drift(decided_days(tmp_path, odd), LAST)) == set()


def test_a_change_to_what_was_predicted_is_not_told(tmp_path: Path):
    def righted(day: date, institution: str) -> float:
        return 0.1 if institution == INSTITUTION and day < STRUCK[0] else 0.4

    assert drifting(drift(decided_days(tmp_path, righted), LAST)) == set()
