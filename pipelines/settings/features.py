"""Settings of feature views: where Feast keeps its registry, and where values are online."""

import re
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, field_validator

from pipelines.errors import InputError

POSTGRESQL = re.compile(r"postgresql\+\w+://")


class FeatureSettings(BaseModel):
    """Feast's registry and online store."""

    feature_registry: SecretStr = Field(
        SecretStr(""),
        description="Address of a PostgreSQL for Feast's registry, such as postgresql+psycopg://user:password@host:5432/name;"
        " empty: a file under home",
    )
    feature_online: Literal["sqlite", "valkey"] = Field(
        "sqlite", description="Where features are online: a file under home, or the Valkey of RATCHET_VALKEY_URL"
    )

    @field_validator("feature_registry")
    @classmethod
    def _names_its_driver(cls, address: SecretStr) -> SecretStr:
        """The value is never shown: it may hold a password, wherever that is in it.

        Behind the first @ SQLAlchemy reads the host, which messages of drivers name: of a password with an @ they would show
        the rest.
        """
        value = address.get_secret_value()
        if value and (not POSTGRESQL.match(value) or value.count("@") > 1):
            raise InputError(
                "RATCHET_FEATURE_REGISTRY, not shown here, since it may hold a password",
                "an address such as postgresql+psycopg://user:password@host:5432/name, an @ in the password as %40, or nothing",
                "correct or unset it",
            )
        return address
