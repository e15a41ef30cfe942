"""Proxy test: can the features of the models predict a protected attribute?"""

from datetime import date

import pyarrow.parquet as pq

from expectations.contracts import load
from models.fairness_proxies import MAX_LEADS, AttributeInference, infer_attributes
from models.params import Features, params
from pipelines.core.database import connect
from pipelines.core.settings import Settings

KEYS = "channel_id, lead_id"

SAMPLE = 2 * MAX_LEADS
"""Leads that are read: more than are used, since some have no value of an attribute."""


def measure_proxies(settings: Settings, day: date) -> tuple[AttributeInference, ...]:
    """Return how well the features of the day's leads predict each protected attribute.

    Merged and suppressed leads are excluded, so that a person counts once: the same person in two
    folds would be recognised rather than predicted.

    Raises:
        FileNotFoundError: The day's leads or marts are not published.
    """
    lake = settings.day_folder(settings.lake / "leads", day) / "leads.parquet"
    marts = settings.day_folder(settings.marts, day) / "leads.parquet"
    sent = set(pq.read_schema(lake).names)  # a day of an earlier version lacks newer columns
    protected = sorted(c.name for c in load("leads").columns if c.protected and c.name in sent)
    features = _keep(params().features["lead"], set(pq.read_schema(marts).names))
    columns = ", ".join(f'"{name}"' for name in (*features.names, *protected))
    with connect(settings) as connection:
        leads = connection.sql(
            f"""
            select {columns}
            from (
                select * from read_parquet('{marts}')
                where exclusion_stage is null
                order by md5(channel_id || '/' || lead_id), {KEYS} limit {SAMPLE}
            ) as features
            join (select {KEYS}, {", ".join(protected)} from read_parquet('{lake}')) as attributes
            using ({KEYS})
            order by {KEYS}
            """
        ).to_arrow_table()
    values = {name: leads[name] for name in protected}
    return tuple(infer_attributes(leads, values, features))


def _keep(features: Features, names: set[str]) -> Features:
    """Return the features that are among `names`."""
    kinds = {"numbers": features.numbers, "categories": features.categories}
    return features.model_copy(
        update={kind: tuple(each for each in of if each in names) for kind, of in kinds.items()}
    )
