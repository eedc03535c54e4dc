"""Tests of pods share one platform, whose environment stays from test to test."""

import pytest


@pytest.fixture(autouse=True)
def _clean_environment() -> None:
    """In place of what every other test gets: nothing is taken away."""
