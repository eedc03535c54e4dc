"""Settings of environments: stores that releases pass through one after another, such as staging and prod."""

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Environment(BaseModel):
    """One environment: a store with a journal of its own, its server, its gate file, and whether a person is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field(pattern=r"^(file:///|s3://).+")
    server_url: str = ""
    mlflow_model: str = Field("", pattern=r"^[^'\"/:]*$")
    """The registered model that shows it; empty: that of the settings, with the environment's name behind it."""
    gate_file: str = "default"
    approval: bool = True
    """Whether a person is asked before a release is promoted here."""

    @field_validator("server_url")
    @classmethod
    def _without_password(cls, address: str) -> str:
        if "@" in address:
            raise ValueError("an address without a user name or password")
        return address


class EnvironmentSettings(BaseModel):
    """The environments, and the one that this process acts on."""

    environment: str = Field(
        "", description="Environment whose store, server and MLflow model are meant; empty: the settings' own"
    )
    environments: dict[str, Environment] = Field(
        {}, description='As JSON: {"staging": {"store": "s3://bucket/staging", "gate_file": "full", "approval": false}}'
    )
