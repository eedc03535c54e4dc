"""The value of a policy that did not act, from a log that has the propensities of both: its own and the other's."""

from dataclasses import dataclass

import numpy as np

from pipelines.errors import InputError
from pipelines.experiments.units import UnitTable
from pipelines.statistics.off_policy import OffPolicyValue, off_policy_value
from pipelines.statistics.uplift import Moments


@dataclass(frozen=True)
class OffPolicyEstimate:
    """The estimate from the rows of one variant."""

    variant: str
    rows: int
    effective_rows: float
    """Rows of equal weights that would tell as much."""
    value: OffPolicyValue


def off_policy_estimates(table: UnitTable) -> list[OffPolicyEstimate]:
    """What the target policy would have earned of the primary metric, by the rows of each variant; none without propensities.

    Raises:
        InputError: a propensity that is none.
    """
    if not table.targeted:
        return []
    low, high, least, most = table.rows("SELECT min(propensity), max(propensity), min(target), max(target) FROM rows")[0]
    if low is None or least is None or low <= 0 or high > 1 or least < 0 or most > 1:
        raise InputError(
            f"propensities from {low} to {high} and target propensities from {least} to {most}",
            "probabilities: above 0 to 1 for what was shown, 0 to 1 under the other policy",
            "correct the columns, or name others by --column propensity=COLUMN and --column target_propensity=COLUMN",
        )
    names = [table.design.baseline, *table.design.treatments]
    return [_estimate(table, place, name) for place, name in enumerate(names)]


def _estimate(table: UnitTable, place: int, name: str) -> OffPolicyEstimate:
    weight = "(target / propensity)"
    chosen = f"FROM rows WHERE variant = {place} AND v0 IS NOT NULL AND target IS NOT NULL"
    grouped = " GROUP BY unit" if table.identified else ""
    columns = f"sum({weight} * v0) AS x, CAST(count(*) AS DOUBLE) AS y, sum({weight}) AS c"
    if not grouped:
        columns = f"{weight} * v0 AS x, 1.0 AS y, {weight} AS c"
    units, *numbers = table.rows(
        "SELECT count(*), avg(x), avg(y), avg(c), var_samp(x), covar_samp(x, y), covar_samp(x, c), var_samp(y),"
        " covar_samp(y, c),"
        f" var_samp(c) FROM (SELECT {columns} {chosen}{grouped})"
    )[0]
    rows, observed, effective = table.rows(f"SELECT count(*), avg(v0), sum({weight}) ** 2 / sum({weight} ** 2) {chosen}")[0]
    x, y, c, xx, xy, xc, yy, yc, cc = (float(number) for number in numbers)
    products = np.zeros((4, 4))
    products[:3, :3] = np.array([[xx, xy, xc], [xy, yy, yc], [xc, yc, cc]]) * (units - 1)
    group = Moments(np.array(float(units)), np.zeros(4), products, np.array([x, y, c, 1.0]))
    return OffPolicyEstimate(name, int(rows), float(effective), off_policy_value(group, float(observed)))
