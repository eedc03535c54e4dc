"""Settings of environments: stores that releases pass through one after another, such as staging and prod."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from pipelines.errors import InputError


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

    @field_validator("store", "server_url")
    @classmethod
    def _without_password(cls, address: str, info: ValidationInfo) -> str:
        """Addresses go into manifests, messages and logs; a folder's path may have an @."""
        if "@" in address and not address.startswith("file:"):
            raise InputError(
                f"RATCHET_ENVIRONMENTS with a {info.field_name} that has an @ in it, not shown here",
                "an address without a user name or password",
                "take it out; credentials are set by AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and RATCHET_SERVER_KEY",
            )
        return address


class EnvironmentSettings(BaseModel):
    """The environments, the one that this process acts on, and how a promoted release takes the traffic."""

    environment: str = Field(
        "", description="Environment whose store, server and MLflow model are meant; empty: the settings' own"
    )
    environments: dict[str, Environment] = Field(
        {}, description='As JSON: {"staging": {"store": "s3://bucket/staging", "gate_file": "full", "approval": false}}'
    )
    deploy_mode: Literal["direct", "canary"] = Field(
        "direct",
        description="Mode of deploy_release where its form does not say another, as after a promotion: direct or canary",
    )
