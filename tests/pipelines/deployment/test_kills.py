"""Promotions that are killed and that race, in small numbers; `make proof-registry` has many, with MLflow."""

from proofs.registry import killed_promotions, raced_promotions


def test_a_promotion_that_is_killed_is_finished_by_the_next_try(releases):
    releases.deployed(releases.a)
    assert killed_promotions(releases, 3) == (3, 3)


def test_of_promotions_at_once_one_wins_and_the_others_are_told_who(releases):
    assert raced_promotions(releases) == 1
