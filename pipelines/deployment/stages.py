"""The stages of a deployment by evidence: what comes next, from what was seen. Pure functions, without clock and store."""

from dataclasses import dataclass
from typing import Any, Literal

from pipelines.errors import InputError

Decision = Literal["wait", "next", "ask", "roll back"]
SHARES = (0.01, 0.05, 0.25, 0.5)
"""The challenger's share of the users in each stage; after the last one it is deployed."""
SEARCHES = (500, 2_000, 10_000, 80_000)
"""Searches of the challenger that each stage must see: with fewer, harm is not found as often as `make proof-deploy` says."""
SHADOW = -1
"""The number of the stage before the first users, in which the challenger ranks the champion's searches unseen."""


@dataclass(frozen=True)
class Plan:
    """How long each stage is, and how much it must see."""

    shares: tuple[float, ...] = SHARES
    searches: tuple[int, ...] = SEARCHES
    """Searches of the challenger, by stage."""
    minutes: float = 30.0
    """The least time of each stage."""
    most_minutes: float = 1440.0
    """After which a stage that has not seen enough asks a person."""
    shadow: float = 1.0
    """The share of the champion's searches that the challenger ranks unseen before the first stage; 0: without that stage."""
    shadow_searches: int = 2_000
    """Searches that both must have ranked in it."""
    least_overlap: float = 0.0
    """Of the first ten of those searches; 0: whatever it is."""

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.shares, self.shares[1:], strict=False))
        if not self.shares or not rising or not (self.shares[0] > 0 and self.shares[-1] < 1):
            raise InputError(
                f"shares {', '.join(f'{share:g}' for share in self.shares) or 'none'}",
                "shares between 0 and 1, each larger than the one before",
                "pass for example --shares 0.01 --shares 0.1 --shares 0.5",
            )
        if len(self.searches) != len(self.shares) or min(self.searches) < 1:
            raise InputError(
                f"{len(self.searches)} numbers of searches for {len(self.shares)} shares",
                "for each share how many searches it must see, 1 or more",
                "pass --searches as often as --shares",
            )
        if self.minutes > self.most_minutes:
            raise InputError(
                f"--minutes {self.minutes:g} and --most-minutes {self.most_minutes:g}",
                "a stage that may last as long as it must, or longer",
                "raise --most-minutes, or lower --minutes",
            )
        if self.least_overlap and not self.shadow:
            raise InputError(
                f"--least-overlap {self.least_overlap:g} with --shadow 0, where no search is ranked unseen",
                "a stage in shadow, which tells the overlap",
                "raise --shadow, or leave --least-overlap out",
            )

    @property
    def needed(self) -> tuple[int, ...]:
        """Searches of the challenger by the number of the stage; those of SHADOW, −1, come last."""
        return *self.searches, self.shadow_searches


def is_over(plan: Plan, stage: Any, minutes: Any, searches: Any) -> Any:
    """Whether a stage has seen enough, elementwise over runs.

    Args:
        stage: its number, from 0, or SHADOW.
        minutes: since it began.
        searches: of the challenger in it.

    >>> bool(is_over(Plan(), 0, 30, 500)), bool(is_over(Plan(), 0, 30, 499)), bool(is_over(Plan(), 0, 29, 900))
    (True, False, False)
    >>> bool(is_over(Plan(), SHADOW, 30, 2000)), bool(is_over(Plan(), SHADOW, 30, 1999))
    (True, False)
    """
    import numpy as np

    return (np.asarray(minutes) >= plan.minutes) & (np.asarray(searches) >= np.asarray(plan.needed)[stage])


def decide(plan: Plan, stage: int, minutes: float, searches: float, broken: bool, blind: bool = False) -> Decision:
    """What comes next; harm comes first, however little was seen. While something is not seen, nobody more gets the challenger.

    A stage in shadow that has seen too little is followed by the first users, who are few, unless it has seen nothing at all or
    an overlap is demanded.

    >>> [decide(Plan(), 0, minutes, 400, broken) for minutes, broken in ((40, True), (40, False), (1440, False))]
    ['roll back', 'wait', 'ask']
    """
    if broken:
        return "roll back"
    if is_over(plan, stage, minutes, searches) and not blind:
        return "next"
    if minutes < plan.most_minutes:
        return "wait"
    return "next" if stage == SHADOW and searches and not (blind or plan.least_overlap) else "ask"
