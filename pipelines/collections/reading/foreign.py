"""Files without data: which are skipped, by their names and first bytes, and why."""

import re

PROSE = re.compile(
    r"(readme\w*|licen[sc]e|copying|notice|changelog)([.-].*)?$|(authors|contributing|citation|changes|makefile|dockerfile)(\.cff)?$",
    re.IGNORECASE,
)
DATA = re.compile(r"\.(csv|tsv|jsonl|ndjson|json|parquet|inter|item|user|dat|data)(\.\w+)?$", re.IGNORECASE)
DESCRIPTION = re.compile(r"(dataset_infos?|dataset_dict|state|package|package-lock)\.json$")
"""Files that describe a data set or program and hold no rows, such as Hugging Face's `save_to_disk` writes beside the data."""
HIDDEN = re.compile(
    r"\.(?!\.?$)|__MACOSX$|_SUCCESS$|_(common_)?metadata$|_(started|committed|temporary|delta_log)|Thumbs\.db$|desktop\.ini$"
)
SUFFIXES = {
    "a text about the data": ("md", "rst", "bib", "docx", "doc", "odt", "pdf", "tex"),
    "a program": ("py", "pl", "sh", "r", "ipynb", "js", "java", "c", "cpp", "h", "rb", "bat", "exe", "jar", "class", "sql"),
    "a picture, sound or film": ("png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "tif", "tiff", "ico", "mp3", "mp4", "wav"),
    "a checksum": ("md5", "sha1", "sha256", "sha512", "crc", "asc", "sig"),
    "a setting": ("yaml", "yml", "toml", "ini", "cfg", "lock", "dvc"),
    "a page": ("html", "htm", "css"),
}
REASONS = {suffix: reason for reason, suffixes in SUFFIXES.items() for suffix in suffixes}

UNREAD: tuple[tuple[bytes, str], ...] = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x1f\x9d", "compressed by `compress`"),
    (b"\x04\x22\x4d\x18", "compressed by lz4"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed by snappy"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office file"),
    (b"%PDF-", "a PDF"),
    (b"\x89PNG\r\n", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF89a", "a picture"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"ORC\x08", "an ORC file"),
    (b"ORC\x0a", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"ARROW1\x00", "an Arrow file"),
    (b"FEA1\x00", "a Feather file"),
    (b"\xff\xff\xff\xff", "an Arrow stream"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"\xff\xfe\x00\x00", "text in UTF-32"),
    (b"\x00\x00\xfe\xff", "text in UTF-32"),
    (b"version https://", "a Git LFS pointer in place of data, which git lfs pull fetches"),
    (b"<!DOCTYPE html", "a web page"),
    (b"<!DOCTYPE HTML", "a web page"),
    (b"<!doctype html", "a web page"),
    (b"<HTML", "a web page"),
    (b"<html", "a web page"),
)
DATA_FORMAT = re.compile(r"Git LFS|Arrow|Feather|Avro|ORC|HDF5|NumPy|SQLite|pickle|spreadsheet|office")
"""In the reasons for which files are skipped: those that hold data."""
PICKLE = re.compile(rb"\x80[\x02-\x05](\x95|[}\]c(K])")


def is_hidden(path: str) -> bool:
    """Whether a path lies in a folder that tools keep for themselves, such as .git.

    >>> is_hidden("a/.git/config"), is_hidden("./a.csv")
    (True, False)
    """
    return any(HIDDEN.match(part) for part in path.split("/"))


def aside_by_name(path: str) -> str:
    """Why a file of a folder or archive is left aside by its name alone; empty: it is not.

    >>> aside_by_name("ml-100k/README"), aside_by_name("ml-100k/u.data")
    ('a text about the data', '')
    """
    name = path.rpartition("/")[2]
    if is_hidden(path):
        return "hidden"
    if DESCRIPTION.match(name):
        return "a description of data"
    if PROSE.match(name) and not DATA.search(name):
        return "a text about the data"
    return REASONS.get(name.lower().rpartition(".")[2], "") if "." in name else ""


def unread_format(head: bytes) -> str:
    """The name of a format that no reader takes, by the first bytes; empty: it may be data.

    >>> unread_format(b"SQLite format 3" + bytes(1))
    'an SQLite database'
    """
    reason = next((reason for magic, reason in UNREAD if head.startswith(magic)), "")
    return reason or ("a pickle, which would run what it says" if PICKLE.match(head) else "")
