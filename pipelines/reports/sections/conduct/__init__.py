"""Conduct: consent, withdrawals, orders, admission, price caps, odds and how lenders are served."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb

from pipelines.core.settings import Settings
from pipelines.reports.sections.conduct import consent, offers

Reader = Callable[[Settings, date, duckdb.DuckDBPyConnection], Any]


@dataclass(frozen=True)
class Conduct:
    """How the day treated what people agreed to and what they were offered."""

    consent_versions: tuple[consent.ConsentVersion, ...] = ()
    consent_institutions: tuple[consent.InstitutionConsent, ...] = ()
    notices: tuple[consent.NoticeRecord, ...] = ()
    orders: tuple[consent.OrderSource, ...] = ()
    admissions: tuple[offers.Admission, ...] = ()
    caps: tuple[offers.CapUse, ...] = ()
    above_cap: tuple[offers.ProductAboveCap, ...] = ()
    odds: tuple[offers.OddsBand, ...] = ()
    hopeless: offers.HopelessPeople | None = None
    lenders: tuple[offers.LenderService, ...] = ()

    @property
    def named_share(self) -> tuple[int, int]:
        """Return the matches whose consent names the institution, and all matches."""
        named = sum(row.named for row in self.consent_institutions)
        return named, sum(row.matches for row in self.consent_institutions)

    @property
    def lenders_worse(self) -> int:
        """Return the number of lenders that broadcast would serve better, beyond chance."""
        return sum(row.is_worse for row in self.lenders)


READERS: dict[str, tuple[str, Reader]] = {
    "consent_versions": ("consent by version", consent.load_consent_versions),
    "consent_institutions": ("consent by institution", consent.load_institution_consents),
    "notices": ("withdrawal notices", consent.load_notices),
    "orders": ("suppression orders", consent.load_order_sources),
    "admissions": ("admissions", offers.load_admissions),
    "caps": ("price caps", offers.load_caps),
    "above_cap": ("products above their cap", offers.load_products_above_cap),
    "odds": ("odds shown", offers.load_odds_shown),
    "hopeless": ("hopeless offers", offers.load_hopeless),
    "lenders": ("service of lenders", offers.load_lender_service),
}
"""Field of `Conduct` -> the name of the part, and what reads it."""
