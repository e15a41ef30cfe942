{# Whether a rate has changed beyond chance (a test of two proportions with a pooled variance) and by
   a factor of its odds, in either direction. Half an approval and half a decline are added to each
   side, so that the odds of a rate of 0 or 1 exist.

   Args:
       approvals, decisions: Of the window of days.
       reference_approvals, reference_decisions: Of the accepted decisions before. #}
{% macro is_sudden_change(approvals, decisions, reference_approvals, reference_decisions) -%}
    {%- set rate = "(%s / %s)" % (approvals, decisions) -%}
    {%- set reference = "(%s / %s)" % (reference_approvals, reference_decisions) -%}
    {%- set pooled = "((%s + %s + 1.0) / (%s + %s + 2.0))" % (
        approvals, reference_approvals, decisions, reference_decisions
    ) -%}
    (
        {{ decisions }} >= {{ var("sudden_least_decisions") }}
        and {{ reference_decisions }} >= {{ var("sudden_reference_decisions") }}
        and abs({{ rate }} - {{ reference }}) > {{ var("sudden_standard_errors") }} * sqrt(
            {{ pooled }} * (1 - {{ pooled }})
            * (1.0 / {{ decisions }} + 1.0 / {{ reference_decisions }})
        )
        and abs(ln(
            ({{ approvals }} + 0.5) / ({{ decisions }} - {{ approvals }} + 0.5)
            * ({{ reference_decisions }} - {{ reference_approvals }} + 0.5)
            / ({{ reference_approvals }} + 0.5)
        )) > ln({{ var("sudden_odds_factor") }})
    )
{%- endmacro %}


{# Whether approvals are beyond chance, and by a factor of their odds, what was predicted for the same
   decisions: a sum of independent draws of which each has its own probability.

   Args:
       approvals, decisions: Of decisions with a prediction.
       expected, variance: Sum of the predicted probabilities p, and of p(1 - p). #}
{% macro is_far_from_predictions(approvals, decisions, expected, variance) -%}
    (
        {{ decisions }} >= {{ var("sudden_least_decisions") }}
        and abs({{ approvals }} - {{ expected }})
        > {{ var("sudden_standard_errors") }} * sqrt({{ variance }})
        and abs(ln(
            ({{ approvals }} + 0.5) / ({{ decisions }} - {{ approvals }} + 0.5)
            * ({{ decisions }} - {{ expected }} + 0.5) / ({{ expected }} + 0.5)
        )) > ln({{ var("sudden_prediction_odds_factor") }})
    )
{%- endmacro %}
