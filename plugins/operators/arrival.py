"""S3Arrival: the amazon provider's S3 key sensor for a form field; an empty key skips it, an invalid one fails it at once."""

from datetime import timedelta
from typing import Any

from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from operators.credentials import s3_hook
from operators.retries import StepRetryPolicy
from pipelines.errors import InputError
from pipelines.settings import settings


class S3Arrival(S3KeySensor):  # type: ignore[misc]  # Airflow's classes are untyped here
    """Wait until an S3 key exists. No worker slot is held between two pokes.

    Args:
        bucket_key: s3://bucket/key, or a template that gives one; empty: the task is skipped.
        poke_interval: seconds between two pokes.
        timeout: seconds until the wait fails.
    """

    bucket_key: Any
    hook: Any

    def __init__(
        self, *, bucket_key: str, poke_interval: float = 60, timeout: float = 86_400, retries: int = 2, **arguments: Any
    ) -> None:
        defaults = {
            "mode": "reschedule",
            "deferrable": False,
            "retry_delay": timedelta(seconds=5),
            "retry_policy": StepRetryPolicy(),
        }
        super().__init__(
            bucket_key=bucket_key, poke_interval=poke_interval, timeout=timeout, retries=retries, **{**defaults, **arguments}
        )

    def execute(self, context: Context) -> None:
        """Poke for the key until it exists.

        Raises:
            AirflowSkipException: no key is given.
            InputError: the value is no S3 key, or the account may not read it.
        """
        key = str(self.bucket_key or "").strip()
        if not key:
            raise AirflowSkipException("no S3 key to wait for was given")
        bucket, _, rest = key.removeprefix("s3://").partition("/")
        if not (key.startswith("s3://") and bucket and rest):
            raise InputError(f"wait_for {key!r}", "s3://bucket/key", "correct the form's field, or leave it empty")
        self.bucket_key, self.hook = key, s3_hook(settings())
        super().execute(context)

    def poke(self, context: Context) -> bool:
        """Whether the key exists. A server that does not answer, or answers 429 or 5xx, is asked again at the next poke.

        Raises:
            InputError: the server refuses the account, or there are no credentials.
        """
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            return bool(super().poke(context))
        except (ClientError, NoCredentialsError) as error:
            if _is_transient(error):
                self.log.warning("%s: %s", self.bucket_key, error)
                return False
            raise InputError(
                f"{self.bucket_key}: {error}",
                "an account that may read the key and list its bucket",
                f"correct the Airflow connection {self.hook.aws_conn_id}",
            ) from None
        except BotoCoreError as error:
            self.log.warning("%s: %s", self.bucket_key, error)
            return False


def _is_transient(error: Any) -> bool:
    status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return bool(status >= 500 or status == 429)
