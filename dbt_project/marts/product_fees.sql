-- One row per fee in force on the business date, of the products in force.

select
    fees.institution_id,
    fees.product_id,
    fees.fee,
    fees.basis,
    fees.value,
    fees.currency,
    fees.charged_when,
    fees.collector,
    fees.is_contingent

from {{ ref("int_product_fees__in_force") }} as fees
inner join {{ ref("products") }} as products
    on
        fees.institution_id = products.institution_id
        and fees.product_id = products.product_id
