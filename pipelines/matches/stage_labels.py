"""Text of the codes that the matching publishes: details of unmatched leads, funnel steps."""

from pipelines.core.translation import Text, words

DETAILS = {
    "same_person": "the same person asked before",
    "id_number_invalid": "identity number is not valid",
    "phone_invalid": "phone number cannot exist",
    "owner_number_invalid": "identity number of the owner is not valid",
    "device_burst": "too many leads from one device",
    "phone_burst": "too many leads from one phone",
    "do_not_contact": "asked not to be contacted",
    "withdrawn": "consent was withdrawn",
    "consent_text_contradicts": "the consent text shown is not the one of its version",
    "consent_text_unknown": "the register has no consent text of this version and date",
    "consent_role_not_allowed": "who consented may not consent for a business",
    "consent_role_unknown": "nobody knows the role of who consented for the business",
    "consent_role_missing": "the role of who consented for the business is not stated",
    "consent_role": "copies of the lead dispute who consented for the business",
    "owner_disputed": "copies of the lead dispute who owns the business",
    "no_institution_in_scope": "consent covers no institution that has a product",
    "every_institution": "every institution asked not to be sent this person",
    "no_open_product": "no product was open",
    "segment": "no product for this kind of customer",
    "currency": "no product in this currency",
    "currency_unknown": "no currency stated, and none assumed for the channel",
    "amount_unknown": "no amount stated, and none assumed",
    "amount": "amount outside the limits of every product",
    "term": "term outside the limits of every product",
    "rules": "no product whose hard rules the lead meets",
    "costs_not_stated": "no suitable product states the costs that the law asks for",
    "apr_above_cap": "every suitable product costs more than the legal cap",
    "pd_outside_band": "risk outside the band of every suitable product",
    "contact_frequency": "every suitable product was shown to this person recently",
    "promised_elsewhere": "reserved for another institution for some days",
    "odds_below_minimum": "too unlikely to be approved anywhere",
    "below_minimum": "expected value below the minimum of a match",
    "shared_phone": "offers went to another person with the same phone",
    "quota_full": "every suitable product was full",
    "share_full": "the leads of this channel or group had their share",
    "guarantee": "no place left that keeps what the institution was guaranteed",
    "budget": "the day's budget of the product was used up",
}
"""Detail of an unmatched lead -> text."""

FUNNEL = {
    "open": "a lead and an open product",
    "consent": "consent covers the institution",
    "suppressed": "the institution may be sent this person",
    "segment": "segment of the product",
    "currency": "same currency",
    "amount": "amount within the limits",
    "term": "term within the limits",
    "rules": "the product's hard rules are met",
    "cost_disclosure": "the product states the costs that the law asks for",
    "price_cap": "annual cost within the legal cap",
    "risk_band": "risk within the product's band",
    "contact_frequency": "not shown to this person recently",
    "exclusive": "the person is reserved for no other institution",
    "low_odds": "an approval is likely enough",
    "low_value": "expected value at or above the minimum",
    "chosen": "chosen within quotas and offers per lead",
}
"""Step of `pairs/funnel.parquet` -> condition that the remaining pairs meet."""


def describe_detail(detail: str) -> Text:
    """Return the text of the detail of an unmatched lead."""
    return Text.fill(DETAILS[detail], {}) if detail in DETAILS else words(detail)
