"""Charts place values where the scale says and stay inside it."""

import re

import pytest

from pipelines.core.rendering.svg import (
    Point,
    bar,
    calibration_plot,
    density_strip,
    interval_bar,
    line_plot,
    offset_bar,
    stacked_bar,
    tick_step,
)

RECT = r'x="([0-9.]+)" y="\d" width="([0-9.]+)"'


def rects(drawn: str) -> list[tuple[float, float]]:
    return [(float(x), float(width)) for x, width in re.findall(RECT, drawn)]


def test_line_plot_leaves_a_gap_at_an_unknown_value():
    drawn = line_plot({"banyan": [0.2, None, 0.4]}, ["1", "2", "3"], title="Share", marks=[1])
    (points,) = re.findall(r'<polyline class="banyan" points="([^"]*)"', drawn)
    assert len(points.split()) == 2
    assert re.findall(r">([0-9]+%)<", drawn) == ["0%", "10%", "20%", "30%", "40%"]
    assert drawn.count('class="mark"') == 1


def test_line_plot_of_rates_need_not_begin_at_zero():
    observed = [Point(0, 0.52, 0.5, 0.54), Point(1, 0.58, 0.56, 0.6)]
    drawn = line_plot(
        {"predicted": [0.53, 0.57]}, ["a", "b"], title="Rate", from_zero=False, observed=observed
    )
    assert re.findall(r">([0-9.]+%)<", drawn) == ["50.0%", "52.5%", "55.0%", "57.5%", "60.0%"]
    assert drawn.count('class="whisker"') == drawn.count('class="observed"') == 2


@pytest.mark.parametrize("values", [[], [None], [0.0]])
def test_line_plot_of_nothing_has_axes(values):
    assert ">0%<" in line_plot({"banyan": values}, ["1"] * len(values), title="Nothing")


def test_calibration_plot_puts_a_calibrated_point_on_the_diagonal():
    drawn = calibration_plot([Point(0.2, 0.2)], [Point(0.4, 0.4)], title="Calibration")
    ends = re.findall(r'class="diagonal" x1="(.*?)" y1="(.*?)" x2="(.*?)" y2="(.*?)"', drawn)
    x1, y1, x2, y2 = map(float, ends[0])
    x, y = map(float, re.findall(r'cx="(.*?)" cy="(.*?)"', drawn)[0])
    assert (x - x1) / (x2 - x1) == pytest.approx((y - y1) / (y2 - y1), abs=1e-3)
    assert 'class="true"' in drawn


def test_interval_beyond_the_scale_ends_with_it():
    drawn = rects(interval_bar(0.1, 0.5, 9, None, 1))
    assert len(drawn) == 2
    assert all(x + width <= 100 for x, width in drawn)


def test_bars_share_one_scale():
    assert rects(bar(25, 50)) == [(0.0, 50.0)]
    assert rects(offset_bar(25, 25, 50)) == [(50.0, 50.0)]
    assert rects(stacked_bar([("a", 1), ("b", 3)])) == [(0.0, 25.0), (25.0, 75.0)]


def test_a_positive_value_is_never_invisible():
    ((x, width),) = rects(offset_bar(1000, 0.001, 1000))
    assert width >= 0.5
    assert x + width <= 100


def test_bars_of_unknown_values_are_empty():
    assert bar(None, 5) == bar(5, None) == bar(5, 0) == stacked_bar([]) == ""


def test_density_strip_skips_empty_slots():
    drawn = density_strip([4, 0, 1], 2 / 3)
    assert drawn.count('class="slot"') == 2
    assert rects(drawn)[-1] == (66.67, 0.4)


@pytest.mark.parametrize(("span", "step"), [(1.0, 0.25), (0.4, 0.1), (37, 10), (0, 1.0)])
def test_tick_step_is_round(span: float, step: float):
    assert tick_step(span) == pytest.approx(step)
