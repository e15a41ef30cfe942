"""Findings about business leads: channels whose businesses declare figures that contradict."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date

import duckdb

from expectations import policy
from pipelines.core.formats import share
from pipelines.core.settings import Settings
from pipelines.core.translation import join, plural, text
from pipelines.reports.sections.businesses import (
    CONTRADICTIONS,
    ContradictionCount,
    load_contradictions,
)
from pipelines.reports.verdict import Finding, make_finding, name_places


def find_contradictions(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the channels with contradictory figures: few are information, many are a remark.

    A channel is a remark if one contradiction has at least `min_leads` of its leads and more than
    `max_share` of its businesses.

    Raises:
        FileNotFoundError: The marts are not published, or of an earlier version.
    """
    marts = settings.day_folder(settings.marts, day)
    if not (marts / "lead_contradictions.parquet").is_file():
        raise FileNotFoundError(marts)
    limits = policy.verdict_rules()["figures_contradict_often"].limits
    by_channel: dict[str, list[ContradictionCount]] = defaultdict(list)
    for row in load_contradictions(connection, marts):
        by_channel[row.channel_id].append(row)
    often = {
        channel
        for channel, rows in by_channel.items()
        if any(
            row.leads >= limits["min_leads"] and row.leads > limits["max_share"] * row.businesses
            for row in rows
        )
    }
    for rule, channels in (
        ("figures_contradict_often", sorted(often)),
        ("figures_contradict", sorted(by_channel.keys() - often)),
    ):
        if channels:
            yield make_finding(
                rule,
                join(
                    text(
                        "{channel}: {what}, {leads} of {businesses} ({share})",
                        channel=channel,
                        what=CONTRADICTIONS[row.contradiction],
                        leads=row.leads,
                        businesses=row.businesses,
                        share=share(row.leads, row.businesses),
                    )
                    for channel in channels
                    for row in by_channel[channel]
                ),
                amount=len(channels),
                where=name_places(channels),
                channels=plural(len(channels), "channel"),
            )
