"""S3 credentials from an Airflow connection, passed to a step in its process environment only.

Never in a command line, a template, an XCom or a log: Airflow shows all of these. A pod gets them from a Secret of its own.
"""

from collections.abc import Mapping
from typing import Any

from pipelines.errors import InputError, TryAgain
from pipelines.settings import Settings
from pipelines.store.objects import Store, open_store

DEFAULT_CONNECTION = "aws_default"
ACCOUNT_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
"""Variables that identify an account: they are replaced together, never mixed from two accounts."""


def with_credentials(environment: dict[str, str], settings: Settings, step_params: Mapping[str, Any]) -> dict[str, str]:
    """A step's environment with the credentials of the connection that the step uses.

    A connection that the settings name serves every step. Otherwise `aws_default` serves steps with an s3:// address among
    their params. Without a connection, or with an empty one, the environment is returned unchanged.

    Raises:
        InputError: the named connection does not exist, or its server is not the store's.
        TryAgain: the credentials can't be obtained, for example because the role's server does not answer.
    """
    if not settings.aws_connection and not _reads_s3(step_params):
        return environment
    hook = s3_hook(settings)
    _check_one_server(settings, hook)
    account = _account_variables(hook)
    kept = {name: value for name, value in environment.items() if not (account and name in ACCOUNT_VARIABLES)}
    return kept | account | _place_variables(hook)


def open_task_store(settings: Settings) -> Store:
    """The store, opened by a task that reads a pod's result, with the account of the connection that the settings name.

    Raises:
        InputError, TryAgain: as for `with_credentials`.
    """
    return open_store(settings, with_credentials({}, settings, {}))


def s3_hook(settings: Settings) -> Any:
    """Airflow's S3Hook with the connection that the settings name, otherwise `aws_default`.

    Raises:
        InputError: the named connection does not exist.
    """
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    hook = S3Hook(aws_conn_id=settings.aws_connection or DEFAULT_CONNECTION)
    if settings.aws_connection and not hook.conn_config:
        raise InputError(
            f"RATCHET_AWS_CONNECTION={settings.aws_connection}",
            "an Airflow connection of that name",
            "create it, or unset the setting",
        )
    hook.conn_config.endpoint_url = hook.conn_config.endpoint_url or settings.s3_endpoint or None
    return hook


def _reads_s3(step_params: Mapping[str, Any]) -> bool:
    flat = [item for value in step_params.values() for item in (value if isinstance(value, (list, tuple)) else [value])]
    return any(isinstance(item, str) and item.startswith("s3://") for item in flat)


def _check_one_server(settings: Settings, hook: Any) -> None:
    """A process has one S3 endpoint, so the store and the source must be on the same server."""
    endpoint = hook.conn_config.get_service_endpoint_url("s3") or ""
    if settings.store_uri.startswith("s3://") and endpoint != settings.s3_endpoint:
        raise InputError(
            f"connection {hook.aws_conn_id} for a source on {endpoint or 'the cloud'}, "
            f"and a store on {settings.s3_endpoint or 'the cloud'}",
            "one S3 server for both",
            "correct RATCHET_S3_ENDPOINT, or the connection's endpoint_url, or copy the source",
        )


def _account_variables(hook: Any) -> dict[str, str]:
    """The connection's account as environment variables; empty: the connection names no account."""
    from airflow.sdk.log import mask_secret
    from botocore.exceptions import BotoCoreError, ClientError

    connection = hook.conn_config
    if not (connection.aws_access_key_id or connection.role_arn or connection.profile_name):
        return {}
    try:
        credentials = hook.get_credentials()  # which also masks them in the task's log
    except (BotoCoreError, ClientError) as error:
        raise TryAgain(
            f"connection {hook.aws_conn_id}: {error}", "credentials from it", "correct the connection, or its role's rights"
        ) from None
    mask_secret(credentials.access_key)
    values = (credentials.access_key, credentials.secret_key, credentials.token)
    return {name: value for name, value in zip(ACCOUNT_VARIABLES, values, strict=False) if value}


def _place_variables(hook: Any) -> dict[str, str]:
    region, endpoint = hook.conn_config.region_name, hook.conn_config.get_service_endpoint_url("s3")
    variables = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region, "RATCHET_S3_ENDPOINT": endpoint}
    return {name: value for name, value in variables.items() if value}
