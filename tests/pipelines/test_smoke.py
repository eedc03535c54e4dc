from tests.conftest import call


def test_trained(trained):
    assert call("assemble", index=trained.index).found
