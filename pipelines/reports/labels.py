"""Names that the matching publishes, in words."""

DETAILS = {
    "same_person": "the same person asked before",
    "id_number_invalid": "identity number is not valid",
    "phone_invalid": "phone number cannot exist",
    "device_burst": "too many leads from one device",
    "phone_burst": "too many leads from one phone",
    "do_not_contact": "asked not to be contacted",
    "withdrawn": "consent was taken back",
    "no_institution_in_scope": "consent covers no institution that has a product",
    "every_institution": "every institution asked not to be sent this person",
    "no_open_product": "no product was open",
    "segment": "no product for this kind of customer",
    "currency": "no product in this currency",
    "amount": "amount outside the limits of every product",
    "term": "term outside the limits of every product",
    "rules": "no product whose own rules are met",
    "apr_above_cap": "every product that fits is dearer than the legal cap",
    "pd_outside_band": "risk outside the band of every product that fits",
    "contact_frequency": "every product that fits was shown to this person lately",
    "promised_elsewhere": "promised to another institution for a while",
    "below_minimum": "worth less than the smallest match that is made",
    "quota_full": "every product that fits was full",
    "budget": "the day's budget of the product was used up",
}
"""Detail of an unmatched lead -> its words."""

FUNNEL = {
    "open": "a lead and an open product",
    "consent": "consent covers the institution",
    "suppressed": "the institution may be sent this person",
    "segment": "made for this kind of customer",
    "currency": "same currency",
    "amount": "amount within the limits",
    "term": "term within the limits",
    "rules": "the product's own rules are met",
    "price_cap": "not dearer than the legal cap",
    "risk_band": "risk within the product's band",
    "contact_frequency": "not shown to this person lately",
    "exclusive": "the person is promised to no other institution",
    "low_value": "worth enough to be made",
    "chosen": "chosen within quotas and offers a lead",
}
"""Step of `pairs/funnel.parquet` -> what holds of the pairs that are left."""
