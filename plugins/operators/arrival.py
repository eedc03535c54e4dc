"""S3Arrival: the amazon provider's sensor, asked for by a form: without a key it is skipped, and a mistake is said at once."""

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
    """Wait until an S3 key is there. Between two looks no worker is held.

    Args:
        bucket_key: s3://bucket/key, or a template that gives one; empty: there is nothing to wait for.
    """

    bucket_key: Any
    hook: Any

    def __init__(
        self, *, bucket_key: str, poke_interval: float = 60, timeout: float = 86_400, retries: int = 2, **arguments: Any
    ) -> None:
        usual = {
            "mode": "reschedule",
            "deferrable": False,
            "retry_delay": timedelta(seconds=5),
            "retry_policy": StepRetryPolicy(),
        }
        super().__init__(
            bucket_key=bucket_key, poke_interval=poke_interval, timeout=timeout, retries=retries, **{**usual, **arguments}
        )

    def execute(self, context: Context) -> None:
        """Look for the key, and be called again until it is there.

        Raises:
            AirflowSkipException: no key was named.
            InputError: what was named is no key, or the account may not look for it.
        """
        key = str(self.bucket_key or "").strip()
        if not key:
            raise AirflowSkipException("no S3 key to wait for was named")
        bucket, _, rest = key.removeprefix("s3://").partition("/")
        if not (key.startswith("s3://") and bucket and rest):
            raise InputError(f"wait_for {key!r}", "s3://bucket/key", "correct the form's field, or leave it empty")
        self.bucket_key, self.hook = key, s3_hook(settings())
        super().execute(context)

    def poke(self, context: Context) -> bool:
        """Whether the key is there; a server that does not answer is asked again."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            return bool(super().poke(context))
        except (ClientError, NoCredentialsError) as error:
            if _may_pass(error):
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


def _may_pass(error: Any) -> bool:
    """Whether the server's refusal is its own trouble and not ours."""
    status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return bool(status >= 500 or status == 429)
