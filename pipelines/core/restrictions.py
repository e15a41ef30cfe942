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

STRICTEST_FIRST = (HOLD_DELIVERY, CLOSE_INSTITUTION, CLOSE_PRODUCT)
"""The actions of the table; of a row that calls for several, the first one counts."""

ORDERS_FEED = "closing_orders"
"""Folder below `lake/` of the orders that ingest derives, and name of their file."""

ORDERS = pa.schema(
    [
        *(
            (name, pa.string())
            for name in (
                "feed",
                "source",
                "subject_type",
                "subject",
                "reason",
                "institution_id",
                "file",
            )
        ),
        ("line", pa.int64()),
    ]
)
"""Columns of `lake/closing_orders/date=D/closing_orders.parquet`: suppression orders of ingest's
own, from copies of a lead that withdraw its consent and from rows that can't be read but name
their subject. `reason` is consent_withdrawn, consent_narrowed, consent_role, unreadable_consent,
unmapped_column or unreadable_order; an empty `institution_id` is every institution. They hold
from date D on."""

PLATFORM = "banyan"
"""The platform's own source of the feed `suppressions`: erasures and restrictions of persons."""
