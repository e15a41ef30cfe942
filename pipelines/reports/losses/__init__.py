"""Losses that only a table shows: what a day, a source, a person or an institution went without.

Each function yields the findings of one kind of loss; its limits are in
`expectations/policy/verdict.yml`.
"""

from collections.abc import Callable, Iterator
from datetime import date

import duckdb

from pipelines.core.settings import Settings
from pipelines.reports.losses import businesses, institutions, landed, people, transport
from pipelines.reports.verdict import Finding

Search = Callable[[Settings, date, duckdb.DuckDBPyConnection], Iterator[Finding]]

SEARCHES: dict[str, Search] = {
    "files that wait": landed.find_waiting,
    "received files": landed.find_empty_day,
    "lost leads": landed.find_lost_leads,
    "leads of earlier dates": landed.find_leads_never_run,
    "silent sources": landed.find_silent_sources,
    "missing columns": landed.find_missing_columns,
    "shared devices and phones": people.find_bursts,
    "orders that match nobody": people.find_orders_without_effect,
    "phones": people.find_misspelt_phones,
    "currencies": people.find_unknown_currencies,
    "figures of businesses": businesses.find_contradictions,
    "changes of the catalogue": institutions.find_catalogue_changes,
    "closed products": institutions.find_closed_products,
    "products without pairs": institutions.find_products_without_pairs,
    "texts that rules exclude": institutions.find_unseen_exclusions,
    "institutions without leads": institutions.find_institutions_without_leads,
    "transport of deliveries": transport.find_files_not_transported,
}
"""Name of a part of the report -> the search for one kind of loss."""
