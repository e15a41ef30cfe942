"""Restrictions that could not be read: the small table that ingest publishes beside the lake.

A row says that something which restricts (a rule, a suppression, a withdrawal, a pause) arrived
and could not be read, and what stays closed until its source sends it again in a readable form. It
holds no value of the row itself.
"""

import pyarrow as pa

FEED = "restrictions"
"""Folder of the table below `lake/`, and name of its file."""

CLOSE_PRODUCT = "close_product"
CLOSE_INSTITUTION = "close_institution"
HOLD_DELIVERY = "hold_delivery"

SCHEMA = pa.schema(
    [
        *(
            (name, pa.string())
            for name in (
                "feed",
                "source",
                "institution_id",
                "product_id",
                "subject_type",
                "action",
                "reason",
                "file",
            )
        ),
        ("line", pa.int64()),
    ]
)
"""Columns of `lake/restrictions/date=D/restrictions.parquet`; D is the date of intake."""
