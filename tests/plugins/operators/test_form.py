"""The form that starts a DAG: what its fields begin with, and so what a dag run goes by that an asset starts."""

import pytest

from pipelines.errors import InputError


def test_a_promotion_deploys_in_the_mode_of_the_settings(monkeypatch):
    from operators.form import mode_field

    assert mode_field()["mode"].value == "direct"
    monkeypatch.setenv("RATCHET_DEPLOY_MODE", "canary")
    assert mode_field()["mode"].value == "canary"
    monkeypatch.setenv("RATCHET_DEPLOY_MODE", "sometimes")
    with pytest.raises(InputError, match="RATCHET_DEPLOY_MODE"):
        mode_field()
