"""The null by permutation, where there are too few past days: users are dealt out anew to the two snapshots.

Rows of one user are alike, so users are dealt, not rows. A user of both snapshots changes sides with all rows half of the time.
Which of the others are of the reference and which of the current snapshot is drawn anew, as many of each, where LEAST_ALONE are
of each side alone. Where there are fewer, it is drawn for all users who is of one side and who is of both: a user of one side
that is dealt to both has the same rows on both and adds nothing to the spread, which is then somewhat too narrow.

A document, or a query of a corpus, is its own user, mostly the same on both sides: of these it is always drawn anew who is of
one side and who of both. So many that came are compared with all that were there, and not with the few that went.

It shows how far apart two samples of the same users would be, and nothing of how days differ, so its p-values are too small
where days do.

The tail beyond the permutations is that of Student's t with their mean and spread. Where they have few different values, as the
share of a value that few rows have, that tail says nothing; the p-value is then at least the part of the permutations, the
snapshots themselves among them, that are as far off (B. Phipson, G. K. Smyth, "Permutation p-values should never be zero",
SAGMB 9, 2010). This is at least 1/101, which is above 1/120: such a signal alone is no alarm.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.drift.rows import Floats, Numbers, Rows, column_of, sketch
from pipelines.drift.signals import NEW, Mask, Signal, signals

PERMUTATIONS = 100
LEAST_ALONE = 50
"""Users of one side alone, on each, from which on only these are dealt anew."""
OF_USERS = ("searches", "log_queries")
"""Tables whose rows are of users, so that rows of one name are alike and not the same."""
LEAST_DIFFERENT = 10
"""Different values that the permutations of a signal must have more than, before a tail is fitted to them."""


def permuted_signals(
    table: str, reference: Rows, current: Rows, outcomes: Sequence[str], seed: int = 0
) -> tuple[list[Signal], Mask]:
    """Signals of which the last value is the current snapshot's against the reference, and the others are of permutations.

    Args:
        table: its name.
        reference, current: the rows of the samples, at least one each.
        outcomes: as `sketch` takes them.
        seed: of the permutations.

    Returns:
        The signals, and the mask of the permutations.
    """
    random = np.random.default_rng(seed)
    joined = concatenated(reference, current)
    now = np.arange(len(joined)) >= len(reference)
    found = []
    for number in range(PERMUTATIONS + 1):
        sides = (~now, now) if number == PERMUTATIONS else dealt(joined.units, now, random, table in OF_USERS)
        pair = [sketch(joined.take(np.flatnonzero(side)), outcomes) for side in sides]
        found.append({signal.name: signal for signal in signals(table, pair, np.array([True, False]))})
    mask = np.arange(PERMUTATIONS + 1) < PERMUTATIONS
    names = [name for name in found[-1] if all(name in one for one in found)]
    return [_stacked([one[name] for one in found]) for name in names], mask


def _stacked(pairs: Sequence[Signal]) -> Signal:
    """The second days of pairs as one signal."""
    real = pairs[-1]
    values, sizes, shown = (np.array([getattr(pair, name)[1] for pair in pairs]) for name in ("values", "sizes", "shown"))
    of_one_side = real.two_sided or (real.detail and not real.name.startswith(NEW))  # a distance is of both
    before = float(real.shown[0]) if of_one_side else None
    return replace(
        real,
        values=values,
        sizes=sizes,
        floor=1e-9,
        shown=shown,
        before=before,
        least_pvalue=least_pvalue(values, real.two_sided),
    )


def least_pvalue(values: Floats, two_sided: bool) -> float:
    """The p-value by the number of permutations, where they have few different values; else 0: Student's tail is taken.

    Args:
        values: of the permutations, and last that of the snapshots themselves.
        two_sided: whether less is as far off as more.

    >>> round(least_pvalue(np.array([0.0] * 97 + [1.0] * 4), two_sided=False), 4)
    0.0396
    >>> least_pvalue(np.arange(101.0), two_sided=False)
    0.0
    """
    rounded = np.round(values, 12)
    if len(np.unique(rounded[:-1])) > LEAST_DIFFERENT:
        return 0.0
    apart = np.abs(rounded - rounded[:-1].mean()) if two_sided else rounded
    return float((apart >= apart[-1]).mean())


def dealt(units: Numbers, now: Mask, random: np.random.Generator, of_users: bool) -> tuple[Mask, Mask]:
    """Which rows are of the reference, and which of the current snapshot, once the users are dealt anew.

    Who has rows of one side alone and is dealt to both has them on both.

    Args:
        units: of each row, (rows,).
        now: whether it is of the current snapshot, (rows,).
        random: draws.
        of_users: whether the units are users, not documents: only those of one side are dealt anew, where there are enough.
    """
    names, user = np.unique(units, return_inverse=True)
    had_then, had_now = np.zeros(len(names), bool), np.zeros(len(names), bool)
    had_then[user[~now]], had_now[user[now]] = True, True
    both = had_then & had_now
    anew = np.arange(len(names))
    if of_users and min((had_then & ~both).sum(), (had_now & ~both).sum()) >= LEAST_ALONE:
        anew = np.flatnonzero(~both)
    order = np.arange(len(names))
    order[anew] = random.permutation(anew)
    in_then, in_now = had_then[order], had_now[order]
    swapped = both & (random.random(len(names)) < 0.5)
    then_by_now, now_by_now = ~had_then | swapped, had_now & ~swapped
    return in_then[user] & (now == then_by_now[user]), in_now[user] & (now == now_by_now[user])


def concatenated(first: Rows, second: Rows) -> Rows:
    """The rows of both, with the columns, numbers, features and words that both have."""

    def labels(rows: Rows, name: str) -> list[str]:
        return [rows.columns[name].values[code] for code in rows.columns[name].codes]

    words = ends = features = None
    if first.words is not None and second.words is not None and first.ends is not None and second.ends is not None:
        words = np.concatenate([first.words, second.words])
        ends = np.concatenate([first.ends, second.ends + len(first.words)])
    if first.features is not None and second.features is not None:
        features = np.concatenate([first.features, second.features])
    columns = [name for name in first.columns if name in second.columns]
    numbers = [name for name in first.numbers if name in second.numbers]
    return Rows(
        np.concatenate([first.units, second.units]),
        {name: column_of(labels(first, name) + labels(second, name)) for name in columns},
        {name: np.concatenate([first.numbers[name], second.numbers[name]]) for name in numbers},
        features,
        words,
        ends,
    )
