{# How many times as likely, as a logarithm, a count is at its own rate than at the given one: n times
   the Kullback-Leibler divergence. Of independent draws with this mean rate, a count so far off or
   farther has at most the probability exp(-gain), on each side, for any n (Chernoff, Hoeffding 1963;
   also if each draw has its own probability). A normal approximation has no such bound: with rates of
   a few per cent it alarms many times too often.

   Args:
       successes, trials: The count; 0 of 0 gains nothing.
       rate: Between 0 and 1, above 0 if there are successes and below 1 if there are failures. #}
{% macro log_likelihood_gain(successes, trials, rate) -%}
    (
        case
            when {{ successes }} > 0
                then {{ successes }} * ln({{ successes }} / ({{ trials }} * {{ rate }}))
            else 0
        end
        + case
            when {{ trials }} > {{ successes }}
                then ({{ trials }} - {{ successes }})
                * ln(({{ trials }} - {{ successes }}) / ({{ trials }} * (1 - {{ rate }})))
            else 0
        end
    )
{%- endmacro %}


{# Whether the odds of two rates differ by more than a factor, in either direction. Half a success and
   half a failure are added to each side, so that the odds of a rate of 0 or 1 exist. #}
{% macro odds_differ(successes, trials, other_successes, other_trials, factor) -%}
    abs(ln(
        ({{ successes }} + 0.5) / ({{ trials }} - {{ successes }} + 0.5)
        * ({{ other_trials }} - {{ other_successes }} + 0.5) / ({{ other_successes }} + 0.5)
    )) > ln({{ factor }})
{%- endmacro %}


{# Whether a rate has changed beyond chance (likelihood ratio test of two proportions) and by a factor
   of its odds.

   Args:
       approvals, decisions: Of the date, or of the window of days.
       reference_approvals, reference_decisions: Of the accepted decisions before. #}
{% macro is_sudden_change(approvals, decisions, reference_approvals, reference_decisions) -%}
    {%- set pooled = "((%s + %s) / (%s + %s))" % (
        approvals, reference_approvals, decisions, reference_decisions
    ) -%}
    (
        {{ decisions }} >= {{ var("sudden_least_decisions") }}
        and {{ reference_decisions }} >= {{ var("sudden_reference_decisions") }}
        and {{ log_likelihood_gain(approvals, decisions, pooled) }}
        + {{ log_likelihood_gain(reference_approvals, reference_decisions, pooled) }}
        > {{ var("sudden_log_likelihood_gain") }}
        and {{ odds_differ(
            approvals, decisions, reference_approvals, reference_decisions,
            var("sudden_odds_factor")
        ) }}
    )
{%- endmacro %}


{# Whether approvals are beyond chance, and by a factor of their odds, what was predicted for the same
   decisions: a sum of independent draws of which each has its own probability.

   Args:
       approvals, decisions: Of decisions with a prediction.
       expected: Sum of the predicted probabilities. #}
{% macro is_far_from_predictions(approvals, decisions, expected) -%}
    (
        {{ decisions }} >= {{ var("sudden_least_decisions") }}
        and {{ log_likelihood_gain(approvals, decisions, "(%s / %s)" % (expected, decisions)) }}
        > {{ var("sudden_log_likelihood_gain") }}
        and {{ odds_differ(
            approvals, decisions, expected, decisions, var("sudden_prediction_odds_factor")
        ) }}
    )
{%- endmacro %}
