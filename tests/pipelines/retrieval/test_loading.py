"""A release is loaded beside those in memory: what they have in common is in memory once."""

from pipelines.retrieval.release import load_release
from pipelines.store.objects import open_store
from tests.images.serve.conftest import _small_once, small

__all__ = ["_small_once", "small"]


def test_the_same_encoder_is_shared(trained, small):
    first = load_release(open_store(), small)
    second = load_release(open_store(), trained.release, beside=[first])
    assert second.encoder is first.encoder
    assert second.search(["moon"], 5) == load_release(open_store(), trained.release).search(["moon"], 5)
