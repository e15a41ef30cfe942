-- The bin of each person in each control, among people of the same segment and currency. Equal
-- values share a bin, and so do missing ones.

create or replace temp table control_bins as

select
    person,
    segment,
    currency,
    control,
    case
        when amount is null then -1
        else least(
            cast(
                floor(
                    $bins * percent_rank() over (
                        partition by control, segment, currency, amount is null order by amount
                    )
                ) as integer
            ),
            $bins - 1
        )
    end as bin
from person_controls
