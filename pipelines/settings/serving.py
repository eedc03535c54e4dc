"""Settings of the search server, and of steps that wait for it."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SecretStr

from pipelines.errors import InputError


class ServerSettings(BaseModel):
    """Where the search server is, and its key."""

    server_url: str = Field("", description="Search servers that deploy and rollback wait for: each address of its host")
    server_key: SecretStr = Field(SecretStr(""), description="Key of the search server")
    server_key_file: Path | None = Field(None, description="File that holds the key instead")
    server_host: str = "127.0.0.1"
    server_port: int = Field(8089, ge=0, le=65535)
    poll_s: float = Field(0.5, gt=0, le=0.5, description="Seconds between two looks at the journal's head")
    served_release: str = Field(
        "", description="Release id to serve whatever the journal routes to, to measure it; empty: none"
    )
    rerank_ms: float = Field(
        200,
        ge=0,
        le=60_000,
        description="Milliseconds from a search's arrival in which to rerank; late: fewer candidates, then none; 0: no limit",
    )
    features_ms: float = Field(
        50,
        ge=0,
        le=60_000,
        description="Milliseconds in which a blend's features are read; late: their defaults; 0: no limit",
    )
    flag_provider: str = Field(
        "",
        pattern=r"^([A-Za-z_]\w*(\.[A-Za-z_]\w*)+)?$",
        description="Class of an OpenFeature provider that says what is toggled; empty: flagd's, on a file from the journal",
    )
    flag_options: dict[str, Any] = Field({}, description="Its arguments, as JSON")
    queue: int = Field(256, ge=1, description="Searches that may wait; one more is told to come back, by 429")
    cache: int = Field(0, ge=0, le=1_000_000, description="Rankings kept to answer equal searches again; 0: none")
    counts_s: float = Field(
        60, ge=0.2, le=600, description="Seconds of a minute of a deployment by evidence, by which both releases are counted"
    )
    server_name: str = Field(
        "",
        max_length=200,
        description="Name of the server in the counts of deployments: kept when it starts again, not by what takes its place",
    )
    drain_s: float = Field(
        0, ge=0, le=60, description="Seconds after SIGTERM in which the server says that it is not ready, and still answers"
    )
    events: Path | None = Field(None, description="Folder of exposure, click and audit logs; default: home/events")
    log_mb: int = Field(64, ge=1, description="Megabytes after which the file of a log is closed; the next day closes it, too")
    log_room_mb: int = Field(
        0, ge=0, description="Megabytes that logs may take here; beyond, searches fail as on a full disk; 0: what the disk has"
    )
    ship_s: float = Field(3600, ge=0, description="Seconds after which logs are closed and shipped to the store; 0: never")
    user_keys_file: Path | None = Field(None, description="File with the keys of users' pseudonyms; none: the server's key")
    jwt_issuer: str = Field("", description="OIDC issuer whose tokens are accepted; empty: none")
    jwt_audience: str = Field("", description="Audience of tokens for this server")
    jwt_keys: str = Field("", description="File or address of the issuer's JWKS; empty: as the issuer's discovery says")
    jwt_leeway_s: float = Field(30, ge=0, le=300, description="Seconds by which the issuer's clock may differ")
    limit_key: str = Field("200/second", description="Requests with one key, such as 200/second or 1000/minute")
    limit_address: str = Field("200/second", description="Requests from one address")
    limit_failures: str = Field("30/minute", description="Requests from one address without a valid key")
    valkey_url: str = Field("", description="Valkey or Redis that counts for all replicas; empty: each counts for itself")
    valkey_password: SecretStr = Field(SecretStr(""), description="Password of the Valkey")
    valkey_password_file: Path | None = Field(None, description="File that holds the password instead")
    request_s: float = Field(
        10, gt=0, le=60, description="Seconds that a request may take to arrive; an answer waits twice as long"
    )
    proxies: str = Field("", description="Addresses of proxies whose X-Forwarded-For is believed, with commas between")

    @property
    def key(self) -> str:
        """The search server's key, from the file when one is named.

        Raises:
            InputError: the key's file cannot be read.
        """
        return _secret("RATCHET_SERVER_KEY_FILE", self.server_key_file, self.server_key)

    @property
    def password(self) -> str:
        """The Valkey's password, from the file when one is named.

        Raises:
            InputError: the password's file cannot be read.
        """
        return _secret("RATCHET_VALKEY_PASSWORD_FILE", self.valkey_password_file, self.valkey_password)


def _secret(name: str, file: Path | None, value: SecretStr) -> str:
    if file is None:
        return value.get_secret_value()
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as error:
        raise InputError(f"{name}={file}", "a readable file", f"create it ({getattr(error, 'strerror', error)})") from None
