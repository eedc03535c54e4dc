"""S3 by an Airflow connection: what a step's process gets in its environment, and nowhere else.

Never in a command line, a template, an XCom or a log: Airflow shows all of these. A pod gets them by a Secret of its own.
"""

from collections.abc import Mapping
from typing import Any

from pipelines.errors import InputError, TryAgain
from pipelines.settings import Settings
from pipelines.store.objects import Store, open_store

USUAL = "aws_default"
OWN = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
"""What says who somebody is: of two accounts no mixture is made."""


def granted(environment: dict[str, str], given: Settings, values: Mapping[str, Any]) -> dict[str, str]:
    """The environment of a step's process, with the credentials of the connection that the step is to use.

    A connection that the settings name serves every step. Else `aws_default` serves a step that is given an s3:// address.
    Where it is not there or says nothing, the environment stays as it is.

    Raises:
        InputError: the named connection is not there, or its server is not the store's.
        TryAgain: the credentials could not be had.
    """
    if not given.aws_connection and not _names_s3(values):
        return environment
    hook = s3_hook(given)
    _check_one_server(given, hook)
    account = _account(hook)
    kept = {name: value for name, value in environment.items() if not (account and name in OWN)}
    return kept | account | _place(hook)


def open_granted_store(given: Settings) -> Store:
    """The store, for a task that reads a pod's result there, as the account of the connection that the settings name.

    Raises:
        InputError, TryAgain: as for `granted`.
    """
    return open_store(given, granted({}, given, {}))


def s3_hook(given: Settings) -> Any:
    """Airflow's hook to S3 by the connection that the settings name, or the usual one if it is there.

    Raises:
        InputError: the named connection is not there.
    """
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    hook = S3Hook(aws_conn_id=given.aws_connection or USUAL)
    if given.aws_connection and not hook.conn_config:
        raise InputError(
            f"RATCHET_AWS_CONNECTION={given.aws_connection}",
            "an Airflow connection of that name",
            "create it, or unset the setting",
        )
    hook.conn_config.endpoint_url = hook.conn_config.endpoint_url or given.s3_endpoint or None
    return hook


def _names_s3(values: Mapping[str, Any]) -> bool:
    every = [one for value in values.values() for one in (value if isinstance(value, (list, tuple)) else [value])]
    return any(isinstance(one, str) and one.startswith("s3://") for one in every)


def _check_one_server(given: Settings, hook: Any) -> None:
    """One process has one address of an S3 server: the store's and the source's must be the same."""
    theirs = hook.conn_config.get_service_endpoint_url("s3") or ""
    if given.store_uri.startswith("s3://") and theirs != given.s3_endpoint:
        where = [server or "the cloud" for server in (theirs, given.s3_endpoint)]
        raise InputError(
            f"connection {hook.aws_conn_id} for a source on {where[0]}, and a store on {where[1]}",
            "one S3 server for both",
            "correct RATCHET_S3_ENDPOINT, or the connection's endpoint_url, or copy the source",
        )


def _account(hook: Any) -> dict[str, str]:
    """Who the connection says that one is; empty: it does not."""
    from airflow.sdk.log import mask_secret
    from botocore.exceptions import BotoCoreError, ClientError

    said = hook.conn_config
    if not (said.aws_access_key_id or said.role_arn or said.profile_name):
        return {}
    try:
        found = hook.get_credentials()  # which also hides them in the task's log
    except (BotoCoreError, ClientError) as error:
        raise TryAgain(
            f"connection {hook.aws_conn_id}: {error}", "credentials from it", "correct the connection, or its role's rights"
        ) from None
    mask_secret(found.access_key)
    named = dict(zip(OWN, (found.access_key, found.secret_key, found.token), strict=False))
    return {name: value for name, value in named.items() if value}


def _place(hook: Any) -> dict[str, str]:
    region, endpoint = hook.conn_config.region_name, hook.conn_config.get_service_endpoint_url("s3")
    names = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region, "RATCHET_S3_ENDPOINT": endpoint}
    return {name: value for name, value in names.items() if value}
