"""Settings of feature views: where Feast keeps its registry, and where values are online."""

from typing import Literal

from pydantic import BaseModel, Field, SecretStr


class FeatureSettings(BaseModel):
    """Feast's registry and online store."""

    feature_registry: SecretStr = Field(
        SecretStr(""), description="SQLAlchemy address of a PostgreSQL for Feast's registry; empty: a file under home"
    )
    feature_online: Literal["sqlite", "valkey"] = Field(
        "sqlite", description="Where features are online: a file under home, or the Valkey of RATCHET_VALKEY_URL"
    )
