"""Allocation of pairs under linear limits: a near-optimal integer plan with a certified gap.

    maximise    sum over pairs i of  v_i x_i                          x_i in {0, 1}
    subject to  sum over the pairs of a lead of  x_i          <= K
                sum over the pairs of a lead and institution  <= 1
                sum over the pairs of a row r of  use_ri x_i  <= upper_r    for each row

The package reads arrays and returns arrays. Rows are quotas, budgets, pacing, exposure, ratios (use
of either sign, upper 0) and floors in leads or money (negative use; a floor may be missed).

1. `problem.py`: the arrays (`PairColumns`) and the rows (`Limit`).
2. `allocate.py`: choose the method, compute the dual bound
   D(p) = sum of upper_r p_r + sum over leads of the K best surpluses, and the gap 1 - value / D(p).
3. With quotas alone the problem is a min-cost flow and the plan is optimal: `quota_flow.py` builds
   the network and, on large days, fixes most leads by reduced cost and solves the core problem;
   `min_cost_flow.py` solves it, breaks ties and reads shadow prices off the residual network.
4. With other limits, Lagrangian relaxation (`lagrangian_solver.py`):
   a. `lead_subproblem.py`: each lead's best pairs at given prices by the surplus
      v_i - sum of use_ri p_r; their use of the rows is a subgradient of D.
   b. `dual_ascent.py`: the prices p >= 0 that minimise D, by projected limited-memory BFGS.
   c. `primal_repair.py`: drop pairs until every row holds, then improve by moves of single leads
      (`moves.py`) and by exchanges between two (`exchanges.py`).
   d. `mip_polish.py`: CP-SAT on the pairs with the smallest reduced costs, all others fixed.
   `relaxation.py` is one such search; the solver repeats it where floors are missed.
5. Where a gap is left, `column_generation.py`: plans are made of whole sets of leads by product, so
   that the bound and the plan come near each other also where a product takes a handful of leads;
   `pricing_problem.py` finds the best sets at given prices.
6. `sensitivity.py`: the price of one limit, measured by solving again with the limit changed.
"""
