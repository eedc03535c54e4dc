"""Settings of the search server, and of steps that wait for it."""

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr

from pipelines.errors import InputError


class ServerSettings(BaseModel):
    """Where the search server is, and its key."""

    server_url: str = Field("", description="A search server that deploy and rollback wait for")
    server_key: SecretStr = Field(SecretStr(""), description="Key of the search server")
    server_key_file: Path | None = Field(None, description="File that holds the key instead")
    server_host: str = "127.0.0.1"
    server_port: int = Field(8089, ge=0, le=65535)
    poll_s: float = Field(0.5, gt=0, le=0.5, description="Seconds between two looks at the journal's head")
    served_release: str = Field(
        "", description="Release id to serve whatever the journal routes to, to measure it; empty: none"
    )
    events: Path | None = Field(None, description="Folder of exposure and click logs; default: home/events")

    @property
    def key(self) -> str:
        """The search server's key, from the file when one is named.

        Raises:
            InputError: the key's file cannot be read.
        """
        if self.server_key_file is None:
            return self.server_key.get_secret_value()
        try:
            return self.server_key_file.read_text().strip()
        except OSError as error:
            raise InputError(
                f"RATCHET_SERVER_KEY_FILE={self.server_key_file}", "a readable file", f"create it ({error.strerror})"
            ) from None
