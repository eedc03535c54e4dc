"""Everything the environment says, read here and nowhere else. Each field is `RATCHET_<NAME>`, grouped by what it is for."""

from pathlib import Path

from pydantic import ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from pipelines.errors import InputError, expectation
from pipelines.settings.environment import absent, bound_evidently, bound_feast, bound_mlflow, environment, thread_limit
from pipelines.settings.environments import Environment, EnvironmentSettings
from pipelines.settings.features import FeatureSettings
from pipelines.settings.packages import extra_packages, missing_packages
from pipelines.settings.paging import PagingSettings
from pipelines.settings.pods import CPU_FEATURES, PodSettings, Profile, node_labels
from pipelines.settings.project import PROJECT, install_command
from pipelines.settings.serving import ServerSettings
from pipelines.settings.store import StoreSettings
from pipelines.settings.task import TaskSettings

__all__ = [
    "CPU_FEATURES",
    "PROJECT",
    "Environment",
    "Profile",
    "Settings",
    "absent",
    "bound_evidently",
    "bound_feast",
    "bound_mlflow",
    "environment",
    "environment_gate_file",
    "environment_named",
    "extra_packages",
    "install_command",
    "missing_packages",
    "node_labels",
    "settings",
    "thread_limit",
]

PASSWORD_SETTINGS = {  # where a password goes instead of into an address
    "mlflow_uri": "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "server_url": "set RATCHET_SERVER_KEY or RATCHET_SERVER_KEY_FILE",
    "valkey_url": "set RATCHET_VALKEY_PASSWORD or RATCHET_VALKEY_PASSWORD_FILE",
    "traces_url": "set OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "s3_endpoint": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}


class Settings(
    EnvironmentSettings,
    StoreSettings,
    PodSettings,
    ServerSettings,
    FeatureSettings,
    TaskSettings,
    PagingSettings,
    BaseSettings,
):
    """Where things are and how steps run; none of it enters an artifact's id."""

    model_config = SettingsConfigDict(env_prefix="RATCHET_", frozen=True, extra="ignore", env_ignore_empty=True)

    @property
    def events_folder(self) -> Path:
        """The folder of the search server's logs, `events` under home when none is set."""
        return self.events or self.home / "events"

    @field_validator(*PASSWORD_SETTINGS)
    @classmethod
    def _without_password(cls, address: str, info: ValidationInfo) -> str:
        """Addresses go into pod specs, messages and logs. Any @ counts: a password may hold what ends an address's name."""
        if "@" in address:
            name = f"RATCHET_{info.field_name}".upper()
            raise InputError(
                f"{name} with a user name or password (an @) in it, not shown here",
                "an address alone",
                PASSWORD_SETTINGS[str(info.field_name)],
            )
        return address


def settings(of: str = "") -> Settings:
    """The settings as the environment variables have them now.

    Args:
        of: the environment whose store, server and MLflow model are meant; empty: the one that RATCHET_ENVIRONMENT names.

    Raises:
        InputError: a variable has a value that its setting can't take, or there is no such environment.
    """
    try:
        current = Settings()
        name = of or current.environment
        return current.model_copy(update=_changes(current, name)) if name else current
    except ValidationError as error:
        first = error.errors()[0]
        name = f"RATCHET_{'_'.join(map(str, first['loc']))}".upper()
        raise InputError(f"{name}={first['input']!r}", expectation(first["msg"]), f"correct or unset {name}") from None
    except SettingsError as error:
        raise InputError(f"a setting that is no JSON: {error}", "JSON", "correct or unset the RATCHET_ variable") from None


def environment_named(name: str) -> Environment:
    """The environment of that name.

    Raises:
        InputError: there is none.
    """
    known = Settings().environments
    if name not in known:
        names = ", ".join(known) or "none, since RATCHET_ENVIRONMENTS is not set"
        raise InputError(f"environment {name!r}", f"one of {names}", "correct it, or add it to RATCHET_ENVIRONMENTS")
    return known[name]


def environment_gate_file() -> str:
    """The gate file of the environment that this process acts on, by name or path; empty: it acts on none."""
    name = settings().environment
    return environment_named(name).gate_file if name else ""


def _changes(current: Settings, name: str) -> dict[str, str]:
    chosen = environment_named(name)
    model = chosen.mlflow_model or f"{current.mlflow_model}-{name}"
    return {"environment": name, "store": chosen.store, "server_url": chosen.server_url, "mlflow_model": model}
