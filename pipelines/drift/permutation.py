"""The null by permutation, where there are too few past days: users are dealt out anew to the two snapshots.

Rows of one user are alike, so users are dealt, not rows; a document is its own. Which users are of the reference alone, of
both, or of the current snapshot alone is drawn anew, as many of each; a user of both changes sides with all rows half of the
time. It shows how far apart two samples of the same users would be, and nothing of how days differ, so its p-values are too
small where days do. The tail beyond the permutations is that of Student's t with their mean and spread.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.drift.rows import Numbers, Rows, column_of, sketch
from pipelines.drift.signals import Mask, Signal, signals

PERMUTATIONS = 100


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
        sides = (~now, now) if number == PERMUTATIONS else dealt(joined.units, now, random)
        pair = [sketch(joined.take(np.flatnonzero(side)), outcomes) for side in sides]
        found.append({signal.name: signal for signal in signals(table, pair, np.array([True, False]))})
    mask = np.arange(PERMUTATIONS + 1) < PERMUTATIONS
    names = [name for name in found[-1] if all(name in one for one in found)]
    return [_stacked([one[name] for one in found]) for name in names], mask


def _stacked(pairs: Sequence[Signal]) -> Signal:
    """The second days of pairs as one signal."""
    real = pairs[-1]
    values, sizes, shown = (np.array([getattr(pair, name)[1] for pair in pairs]) for name in ("values", "sizes", "shown"))
    return Signal(real.name, real.area, values, sizes, 1e-9, real.two_sided, shown, real.unit, real.root, real.detail)


def dealt(units: Numbers, now: Mask, random: np.random.Generator) -> tuple[Mask, Mask]:
    """Which rows are of the reference, and which of the current snapshot, once the users are dealt anew.

    A user who has rows of one side alone and is dealt to both has them on both.

    Args:
        units: of each row, (rows,).
        now: whether it is of the current snapshot, (rows,).
        random: draws.
    """
    names, user = np.unique(units, return_inverse=True)
    had_then, had_now = np.zeros(len(names), bool), np.zeros(len(names), bool)
    had_then[user[~now]], had_now[user[now]] = True, True
    order = random.permutation(len(names))
    in_then, in_now = had_then[order], had_now[order]
    swapped = had_then & had_now & (random.random(len(names)) < 0.5)
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
