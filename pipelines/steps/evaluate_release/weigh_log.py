"""weigh_log: what a release would have earned under logged traffic, by a log with the propensities of both policies."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.settings import install_command, missing_packages
from pipelines.store.artifacts import load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.experiments.staging import StagedLog

VERSION = 1
MOST_MISSING = 0.01
"""The part of the rows that may lack a value."""


class WeighLogParams(Params):
    log: str = Field(description="Log: a file or folder of CSV, JSONL or Parquet, local or s3://")
    release: str = Field("", description="Release id whose probabilities the target's are")
    reward: str = Field("click", description="Column of what an action earned, 0 or above")
    propensity: str = Field("propensity", description="Column of the probability with which the action was shown")
    target: str = Field("target_propensity", description="Column of the probability with which the release shows it")
    unit: str = Field("", description="Column of users or sessions, whose rows belong together; empty: each row is its own")


class WeighLogResult(Result):
    off_policy: str
    release: str
    rows: int
    effective_rows: float
    """Rows of equal weight that tell as much."""
    snips: float
    """Relative gain over what was earned."""
    low: float
    high: float
    too_thin: str
    """Why the policies overlap too little for a verdict; empty: they overlap enough."""
    sentence: str
    found: bool


def weigh_log(params: WeighLogParams) -> WeighLogResult:
    """Estimate by IPS and SNIPS what a release would have earned, and say whether the log overlaps with it enough."""
    if missing := missing_packages("experiments"):
        given = f"weigh_log without {' and '.join(missing)}"
        raise InputError(given, "the packages of the extra experiments", f"run `{install_command('experiments')}`")
    from pipelines.experiments.analysis import digest_log
    from pipelines.experiments.staging import stage_log

    store = open_store()
    release = load(store, "release", params.release)
    with TemporaryDirectory(prefix="ratchet-weigh-") as scratch:
        staged = stage_log(params.log, Path(scratch))
        try:
            inputs = {"log": digest_log(staged), "release": release.id}
            semantic = params.recipe_params({"log", "release"})
            recipe = Recipe(kind="off_policy", step="weigh_log", version=VERSION, inputs=inputs, params=semantic)
            made = produce(store, recipe, lambda folder: _weigh(staged, params, release.id, folder))
        finally:
            staged.db.close()
    log().info(made.facts["sentence"], off_policy=made.id)
    return WeighLogResult(off_policy=made.id, release=release.id, found=made.found, **made.facts)


def _weigh(staged: "StagedLog", params: WeighLogParams, release: str, folder: Path) -> dict[str, Any]:
    from pipelines.evaluation.off_policy import estimate
    from pipelines.reports.off_policy import Z, write_off_policy_report

    summary = estimate(**_columns(staged, params))
    (folder / "off_policy.json").write_text(json.dumps(summary, indent=1, sort_keys=True), encoding="utf-8")
    sentence = write_off_policy_report(folder, release, Path(params.log).name, summary)
    lift = summary["lift"]["SNIPS"]
    bounds = {"low": lift["lift"] - Z * lift["error"], "high": lift["lift"] + Z * lift["error"]}
    kept = {name: summary[name] for name in ("rows", "effective_rows", "too_thin")}
    return {**kept, "snips": lift["lift"], **bounds, "sentence": sentence}


def _columns(staged: "StagedLog", params: WeighLogParams) -> dict[str, Any]:
    """The numbers of each row.

    Raises:
        InputError: a column is not there, values are missing in more than one of a hundred rows, or are none that can be.
    """
    from pipelines.experiments.staging import quoted
    from pipelines.wording import printable

    named = {"rewards": params.reward, "propensities": params.propensity, "target": params.target}
    for option, column in {**named, **({"unit": params.unit} if params.unit else {})}.items():
        if column not in staged.columns:
            have = ", ".join(map(printable, list(staged.columns)[:30]))
            expected = f"its columns {have}"
            raise InputError(
                f"column {printable(column)} for {option}", expected, "pass --reward, --propensity, --target or --unit"
            )
    values = ", ".join(f"TRY_CAST({quoted(column)} AS DOUBLE) AS {name}" for name, column in named.items())
    unit = f", hash({quoted(params.unit)}) AS units" if params.unit else ""
    finite = " AND ".join(f"isfinite({name})" for name in named)
    found = staged.db.execute(f"SELECT * FROM (SELECT {values}{unit} FROM log) WHERE {finite}").fetchnumpy()  # noqa: S608
    columns = {name: column.astype("u8" if name == "units" else float) for name, column in found.items()}
    lacking = staged.rows - columns["rewards"].size
    if lacking > MOST_MISSING * staged.rows:
        given = f"{lacking:,} of {staged.rows:,} rows without a number in {', '.join(named.values())}"
        raise InputError(given, f"at most {MOST_MISSING:.0%}", "correct the log, or name other columns")
    rewards, shown, target = (columns[name] for name in named)
    if rewards.min() < 0 or shown.min() <= 0 or shown.max() > 1 or target.min() < 0 or target.max() > 1:
        given = f"rewards from {rewards.min():g}, propensities from {shown.min():g} to {shown.max():g}, of the release from"
        expected = "rewards of 0 or above, probabilities above 0 to 1 for what was shown, 0 to 1 for the release"
        raise InputError(f"{given} {target.min():g} to {target.max():g}", expected, "correct the columns")
    return columns
