"""Places that a user names: a path, a file:/// address or an s3:// one."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.errors import InputError


def local_path(uri: str) -> Path:
    """The path that a user gave, as a path or as file:///….

    Raises:
        InputError: another scheme, or another host's file.
    """
    parts = urlsplit(uri) if "://" in uri or not uri else None
    if parts is None:
        return Path(uri).expanduser() if uri.startswith("~/") else Path(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return Path(unquote(parts.path))
    raise InputError(repr(uri), "a path, file:///folder or s3://bucket/prefix", "pass one of these")
