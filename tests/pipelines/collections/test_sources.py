"""Where a source's files come from: paths, folders, archives and buckets; and what is refused or left aside on the way."""

import bz2
import gzip
import io
import lzma
import os
import socket
import tarfile
import threading
import zipfile
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import pyarrow
import pyarrow.parquet
import pytest

from pipelines.collections.reading import compression, foreign, sources
from pipelines.collections.reading.compression import expanded
from pipelines.collections.reading.sources import LocalFile, open_source
from pipelines.errors import InputError, TryAgain
from tests.services import S3

ROWS = b"id,text\n1,red shoe\n2,blue hat\n"


def zstd(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


COMPRESSED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def content(file: LocalFile) -> bytes:
    with expanded(file.path, file.name, file.compression, file.member) as stream:
        return b"".join(iter(lambda: stream.read(1 << 16), b""))


def contents(uri: Path | str, scratch: Path) -> dict[str, bytes]:
    return {file.name: content(file) for file in open_source(str(uri), scratch)}


def asides(uri: Path | str, scratch: Path) -> dict[str, str]:
    return {one.name: one.reason for one in open_source(str(uri), scratch).skipped}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    return path


# Paths


def test_a_file_is_found_by_path_relative_path_and_uri(folder, scratch, monkeypatch):
    path = folder / "my rows.csv"
    path.write_bytes(ROWS)
    monkeypatch.chdir(folder)
    for uri in (str(path), "my rows.csv", "./my rows.csv", path.as_uri(), f"file://localhost{path.as_uri()[7:]}"):
        assert contents(uri, scratch) == {"my rows.csv": ROWS}
    monkeypatch.setenv("HOME", str(folder))
    assert contents("~/my rows.csv", scratch) == {"my rows.csv": ROWS}


def test_a_folder_is_walked_in_order_and_says_what_it_leaves_aside(folder, scratch):
    for name in (
        "b.csv",
        "a/z.csv",
        "a/b/c.csv",
        "README.md",
        "LICENSE",
        "a/.hidden.csv",
        ".git/config",
        "allbut.pl",
        "_SUCCESS",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(ROWS)
    (folder / "empty.csv").touch()
    (folder / "empty.csv.gz").write_bytes(gzip.compress(b""))
    (folder / "photo").write_bytes(b"\x89PNG\r\n\x1a\n")
    source = open_source(str(folder), scratch)
    assert [file.name for file in source] == ["a/b/c.csv", "a/z.csv", "b.csv"]
    assert {one.name: one.reason for one in source.skipped} == {
        ".git": "hidden",
        "LICENSE": "a text about the data",
        "README.md": "a text about the data",
        "_SUCCESS": "hidden",
        "a/.hidden.csv": "hidden",
        "allbut.pl": "a program",
        "empty.csv": "empty",
        "empty.csv.gz": "empty",
        "photo": "a picture",
    }
    assert not scratch.exists()


def test_a_file_named_by_hand_is_taken_whatever_it_is_called(folder, scratch):
    (folder / ".notes.md").write_bytes(ROWS)
    assert contents(folder / ".notes.md", scratch) == {".notes.md": ROWS}


def test_a_folder_called_as_a_text_is_still_a_folder(folder, scratch):
    (folder / "changes").mkdir()
    (folder / "changes" / "a.csv").write_bytes(ROWS)
    assert contents(folder, scratch) == {"changes/a.csv": ROWS}


def test_no_link_is_followed_out_of_the_folder(folder, tmp_path, scratch):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "keys.csv").write_bytes(b"id,text\n1,secret\n")
    (folder / "a.csv").write_bytes(ROWS)
    (folder / "out.csv").symlink_to(tmp_path / "secret" / "keys.csv")
    (folder / "outer").symlink_to(tmp_path / "secret")
    (folder / "again.csv").symlink_to("a.csv")
    (folder / "loop").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "nowhere").symlink_to(tmp_path / "nowhere")
    assert contents(folder, scratch) == {"a.csv": ROWS}
    found = asides(folder, scratch)
    inside = "a link to a place in the folder, which is read there"
    assert found == {
        "again.csv": inside,
        "loop": inside,
        "nowhere": "leads out of the folder",
        "out.csv": "leads out of the folder",
        "outer": "leads out of the folder",
        "self": "leads out of the folder",
    }


def test_a_link_given_by_hand_is_followed(folder, tmp_path, scratch):
    (folder / "a.csv").write_bytes(ROWS)
    (tmp_path / "link").symlink_to(folder)
    assert contents(tmp_path / "link", scratch) == {"a.csv": ROWS}


@pytest.mark.timeout(20)
def test_pipes_sockets_and_devices_are_never_opened(folder, scratch):
    (folder / "a.csv").write_bytes(ROWS)
    os.mkfifo(folder / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket.csv"))
        assert asides(folder, scratch) == dict.fromkeys(("pipe.csv", "socket.csv"), "a pipe, socket or device")
    for path in (folder / "pipe.csv", Path("/dev/zero")):
        with pytest.raises(InputError, match="a pipe or a device; expected a file or a folder"):
            open_source(str(path), scratch)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("nothing-here.csv", "nothing-here.csv: No such file or directory"),
        ("file:///nothing/here", "No such file or directory"),
        ("http://evil.example/a.csv", "expected a path, file:///folder or s3://bucket/prefix"),
        ("file://evil.example/a.csv", "expected a path, file:///folder or s3://bucket/prefix"),
        ("", "expected a path"),
        ("s3://", "name a bucket"),
        ("s3:///key", "name a bucket"),
        ("a\0b.csv", "null byte"),
        ("x" * 300, "File name too long"),
        (__file__ + "/a.csv", "Not a directory"),
    ],
    ids=lambda value: value[:20],
)
def test_a_place_that_is_none_is_said(uri, said, scratch):
    with pytest.raises(InputError, match=said.replace("/", r"\/")):
        open_source(uri, scratch)


def test_a_folder_without_anything_says_what_it_has(folder, scratch):
    with pytest.raises(InputError, match="nothing was found that can be read; expected CSV"):
        open_source(str(folder), scratch)
    (folder / "README.md").write_text("hello")
    (folder / "a.csv").touch()
    with pytest.raises(InputError, match=r"README.md: a text about the data; a.csv: empty\)"):
        open_source(str(folder), scratch)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said(folder, scratch):
    (folder / "a.csv").write_bytes(ROWS)
    (folder / "a.csv").chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        open_source(str(folder), scratch)


def test_a_file_that_fails_while_it_is_read_is_said(folder):
    with (
        pytest.raises(InputError, match="which can't be read: Input/output error"),
        expanded(Path("/proc/self/mem"), "memory") as file,
    ):
        file.read(10)


def test_a_tree_that_was_not_meant_is_refused(folder, scratch, monkeypatch):
    monkeypatch.setattr(sources, "MOST_FILES", 3)
    for number in range(4):
        (folder / f"{number}.csv").write_bytes(ROWS)
    with pytest.raises(InputError, match="more than 3 files"):
        open_source(str(folder), scratch)


def test_names_are_shown_as_they_can_be_printed(folder, scratch):
    Path(os.fsdecode(bytes(folder) + b"/caf\xe9\n.csv")).write_bytes(ROWS)
    assert contents(folder, scratch) == {"caf\\udce9\\n.csv": ROWS}


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"7z\xbc\xaf\x27\x1c\0\0", "a 7z archive"),
        (b"\x1f\x9d\x90data", "compressed by `compress`"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\x80\x04\x95\x10\0\0\0\0\0\0\0", "a pickle, which would run what it says"),
        (b"\x7fELF\x02", "a program"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_reader_takes_is_named(head, reason, folder, scratch):
    (folder / "a").write_bytes(head)
    with pytest.raises(InputError, match=f"a: {reason}"):
        open_source(str(folder / "a"), scratch)


@pytest.mark.parametrize("name", ["reader.csv", "notices.csv", "readme.jsonl", "changes.csv", "authors.tsv", "a.item"])
def test_data_is_not_left_aside_by_its_name(name):
    assert foreign.aside_by_name(name) == ""


@pytest.mark.parametrize("text", [b"ORCID,name\n", b"MZ,a\n", b"GIF8,b\n", b"FEA1,c\n", b"PK,d\n", b"BZh,e\n"])
def test_text_is_not_taken_for_another_format_by_its_first_letters(text, folder, scratch):
    (folder / "a.csv").write_bytes(text)
    assert contents(folder, scratch) == {"a.csv": text}


# Compression


@pytest.mark.parametrize("kind", COMPRESSED)
def test_compressed_files_are_known_by_their_bytes(kind, folder, scratch):
    (folder / f"named.csv.{kind}").write_bytes(COMPRESSED[kind](ROWS))
    (folder / "unnamed.csv").write_bytes(COMPRESSED[kind](ROWS))
    assert contents(folder, scratch) == {f"named.csv.{kind}": ROWS, "unnamed.csv": ROWS}
    assert not scratch.exists()


@pytest.mark.parametrize("kind", COMPRESSED)
def test_streams_one_after_the_other_are_one_file(kind, folder, scratch):
    pack = COMPRESSED[kind]
    padding = b"\0" * 8 if kind in ("gz", "xz") else b""
    (folder / "a.csv").write_bytes(pack(ROWS) + pack(b"") + pack(b"3,green sock\n") + padding)
    assert contents(folder, scratch) == {"a.csv": ROWS + b"3,green sock\n"}


@pytest.mark.parametrize("kind", COMPRESSED)
def test_streams_may_end_where_a_chunk_does(kind, folder, scratch, monkeypatch):
    pack = COMPRESSED[kind]
    (folder / "a.csv").write_bytes(pack(ROWS) + pack(b"3,green sock\n"))
    for size in (1, 2, len(pack(ROWS))):
        monkeypatch.setattr(compression, "CHUNK", size)
        assert contents(folder, scratch) == {"a.csv": ROWS + b"3,green sock\n"}


@pytest.mark.parametrize("kind", COMPRESSED)
@pytest.mark.parametrize("harm", ["cut by a byte", "cut in half", "followed by rubbish", "second stream cut", "a byte changed"])
def test_a_damaged_file_is_never_taken_for_a_whole_one(kind, harm, folder, scratch):
    whole = COMPRESSED[kind](os.urandom(3000) + ROWS)
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 0xFF
    harmed = {
        "cut by a byte": whole[:-1],
        "cut in half": whole[: len(whole) // 2],
        "followed by rubbish": whole + b"rubbish that is no stream",
        "second stream cut": whole + whole[:-5],
        "a byte changed": bytes(changed),
    }[harm]
    if kind == "zst" and harm == "a byte changed":
        pytest.skip("pyarrow writes zstd without checksums")
    (folder / f"a.csv.{kind}").write_bytes(harmed)
    with pytest.raises(
        InputError, match=rf"a\.csv\.{kind}, which (is cut off|can't be read).*take the file from its origin once more"
    ):
        open_source(str(folder), scratch)


@pytest.mark.parametrize("kind", [*COMPRESSED, "zip"])
def test_a_file_named_as_compressed_that_is_not_is_refused(kind, folder, scratch):
    (folder / f"a.csv.{kind}").write_bytes(ROWS)
    with pytest.raises(InputError, match=rf"a\.csv\.{kind}, which does not begin as a \w+ file does"):
        open_source(str(folder), scratch)


def test_an_xz_file_may_not_ask_for_all_memory(folder, scratch):
    body = bytearray(lzma.compress(ROWS))
    header = slice(12, 12 + (body[12] + 1) * 4)
    body[16] = 40  # a dictionary of 4 GiB
    body[header.stop - 4 : header.stop] = zlib.crc32(body[header.start : header.stop - 4]).to_bytes(4, "little")
    (folder / "a.csv.xz").write_bytes(body)
    with pytest.raises(InputError, match=r"(?i)memory usage limit"):
        open_source(str(folder), scratch)


def test_compressed_parquet_is_unpacked(folder, scratch):
    pyarrow.parquet.write_table(pyarrow.table({"id": ["1"]}), folder / "a.parquet")
    plain = (folder / "a.parquet").read_bytes()
    (folder / "a.parquet.gz").write_bytes(gzip.compress(plain))
    zipped(folder / "b.zip", {"b.parquet": plain})
    found = list(open_source(str(folder), scratch))
    assert [(file.name, file.compression) for file in found] == [
        ("a.parquet", ""),
        ("a.parquet.gz", ""),
        ("b.zip/b.parquet", ""),
    ]
    assert all(file.path.read_bytes() == plain for file in found)
    assert found[1].path.is_relative_to(scratch)


def bomb(path: Path, size: int) -> Path:
    """A table whose text is the same letter again and again."""
    block = b"1," + b"a" * 4093 + b"\n"
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.csv", "w") as member:
            for _ in range(size // len(block)):
                member.write(block)
    elif path.name.endswith(".tar.gz"):
        tarred(path, {"a.csv": block * (size // len(block))}, "w:gz")
    else:
        opened = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(path.suffix)
        if opened:
            with opened(path, "wb") as file:
                file.writelines(block for _ in range(size // len(block)))
        else:
            path.write_bytes(zstd(block * (size // len(block))))
    return path


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.bz2", "a.csv.xz", "a.csv.zst", "a.zip", "a.tar.gz"])
def test_a_bomb_is_refused_before_a_row_is_read_and_leaves_nothing(name, folder, scratch, monkeypatch):
    monkeypatch.setattr(compression, "MAX_EXPANDED", 16 << 20)
    monkeypatch.setattr(sources, "MAX_EXPANDED", 16 << 20)
    monkeypatch.setattr(compression, "CHUNK", 1 << 12)  # as large to these files as it is to real bombs
    bomb(folder / name, 48 << 20)
    with pytest.raises(InputError, match="at most 200 times the compressed size, as no data but a zip bomb exceeds it"):
        open_source(str(folder), scratch)
    assert sum(file.stat().st_size for file in scratch.rglob("*") if file.is_file()) <= 16 << 20


def test_a_file_that_expands_much_but_is_small_is_no_bomb(folder, scratch):
    bomb(folder / "a.csv.xz", 4 << 20)
    assert len(contents(folder, scratch)["a.csv.xz"]) == 4 << 20


def test_a_bomb_behind_good_rows_is_found_while_it_is_read(folder, scratch, monkeypatch):
    monkeypatch.setattr(compression, "MAX_EXPANDED", 8 << 20)
    monkeypatch.setattr(sources, "MAX_EXPANDED", 1 << 20)  # it is not looked at further ahead
    bomb(folder / "a.csv.gz", 32 << 20)
    (file,) = open_source(str(folder), scratch)
    with pytest.raises(InputError, match="a zip bomb"):
        content(file)


# Archives


def test_each_member_of_a_zip_is_a_file(folder, scratch):
    members = {
        "a/b.csv": ROWS,
        "a/README": b"x",
        "__MACOSX/._b.csv": b"x",
        "./c.csv": b"id\n1\n",
        "empty.csv": b"",
        "x.png": b"\x89PNG\r\n",
    }
    zipped(folder / "all.zip", members)
    assert contents(folder / "all.zip", scratch) == {"all.zip/a/b.csv": ROWS, "all.zip/./c.csv": b"id\n1\n"}
    assert asides(folder, scratch) == {
        "all.zip/a/README": "a text about the data",
        "all.zip/__MACOSX/._b.csv": "hidden",
        "all.zip/empty.csv": "empty",
        "all.zip/x.png": "a picture, sound or film",
    }
    assert not scratch.exists()


def test_a_zip_without_the_name_of_one_is_one(folder, scratch):
    zipped(folder / "download", {"x.json": b"[]"})
    assert contents(folder / "download", scratch) == {"download/x.json": b"[]"}


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_compressed_member_is_read_as_well(kind, folder, scratch):
    zipped(folder / "a.zip", {f"x.csv.{kind}": COMPRESSED[kind](ROWS)})
    tarred(folder / "b.tar", {f"y.csv.{kind}": COMPRESSED[kind](ROWS)})
    assert contents(folder, scratch) == {f"a.zip/x.csv.{kind}": ROWS, f"b.tar/y.csv.{kind}": ROWS}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("layout", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_each_member_of_a_tar_is_a_file(mode, layout, folder, scratch):
    name = "deep/" * 15 + "b.csv"
    with tarfile.open(folder / "all", mode, format=layout) as archive:
        for path, body in (("./a.csv", ROWS), (name, b"id\n1\n"), ("LICENSE", b"x")):
            entry = tarfile.TarInfo(path)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    assert contents(folder, scratch) == {"all/./a.csv": ROWS, f"all/{name}": b"id\n1\n"}
    assert asides(folder, scratch / "again") == {"all/LICENSE": "a text about the data"}


def test_a_tar_in_zstd_is_unpacked(folder, scratch):
    plain = tarred(folder / "a.tar", {"a.csv": ROWS}).read_bytes()
    (folder / "a.tar").unlink()
    (folder / "a.tar.zst").write_bytes(zstd(plain))
    assert contents(folder, scratch) == {"a.tar.zst/a.csv": ROWS}


@pytest.mark.parametrize("member", ["../out.csv", "/etc/out.csv", "a/../../out.csv", "..\\out.csv", "C:\\out.csv"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_that_leads_out_of_its_archive_is_refused(member, pack, folder, tmp_path, scratch):
    pack(folder / "a", {"ok.csv": ROWS, member: ROWS})
    with pytest.raises(InputError, match="names that stay within the archive"):
        open_source(str(folder), scratch)
    assert not list(tmp_path.rglob("out.csv"))


def test_links_and_devices_in_archives_are_left_aside(folder, scratch):
    with tarfile.open(folder / "a.tar", "w") as archive:
        for name, kind in (
            ("sym", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("pipe", tarfile.FIFOTYPE),
            ("zero", tarfile.CHRTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
        entry = tarfile.TarInfo("ok.csv")
        entry.size = len(ROWS)
        archive.addfile(entry, io.BytesIO(ROWS))
    with zipfile.ZipFile(folder / "b.zip", "w") as zip_archive:
        link = zipfile.ZipInfo("sym")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        zip_archive.writestr(link, "/etc/passwd")
    assert contents(folder, scratch) == {"a.tar/ok.csv": ROWS}
    found = asides(folder, scratch / "again")
    assert found == {
        "a.tar/sym": "a link", "a.tar/hard": "a link", "a.tar/pipe": "a special file", "a.tar/zero": "a special file",
        "b.zip/sym": "a link",
    }  # fmt: skip


def encrypted(path: Path) -> None:
    """Say of the only member that it is encrypted, in both places."""
    body = bytearray(zipped(path, {"a.csv": ROWS}).read_bytes())
    body[6] |= 1
    body[body.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(body)


def nested(path: Path) -> None:
    inner = zipped(path.with_name("inner"), {"a.csv": ROWS})
    zipped(path, {"inner": inner.read_bytes()})
    inner.unlink()


def nested_tar(path: Path) -> None:
    inner = tarred(path.with_name("inner"), {"a.csv": ROWS})
    zipped(path, {"inner.tgz": gzip.compress(inner.read_bytes())})
    inner.unlink()


def twice_compressed(path: Path) -> None:
    path.write_bytes(gzip.compress(bz2.compress(ROWS)))


def zip_in_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(zipped(path, {"a.csv": ROWS}).read_bytes()))


def zip_in_tar(path: Path) -> None:
    inner = zipped(path, {"a.csv": ROWS}).read_bytes()
    tarred(path, {"a.zip": inner})


@pytest.mark.filterwarnings("ignore:Duplicate name")
def named_twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", ROWS)
        archive.writestr("a.csv", b"id,text\n9,other\n")


def cut_zip(path: Path) -> None:
    path.write_bytes(zipped(path, {"a.csv": ROWS}).read_bytes()[:-30])


def changed_member(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.csv", ROWS)
    path.write_bytes(path.read_bytes().replace(b"red shoe", b"bad shoe"))


def short_member(path: Path) -> None:
    """A member that ends before the size that both of its headers name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.csv", ROWS)
    size = len(ROWS).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size + size, (1 << 20).to_bytes(4, "little") * 2))


def cut_tar(path: Path) -> None:
    path.write_bytes(tarred(path, {"a.csv": ROWS * 100}).read_bytes()[:1500])


def tar_without_end(path: Path) -> None:
    path.write_bytes(tarred(path, {"a.csv": ROWS, "b.csv": ROWS}).read_bytes()[:1024])


def tar_with_bad_header(path: Path) -> None:
    body = bytearray(tarred(path, {"a.csv": ROWS, "b.csv": ROWS}).read_bytes())
    body[1024:1034] = b"##########"
    path.write_bytes(body)


def cut_tar_in_gzip(path: Path) -> None:
    path.write_bytes(tarred(path, {"a.csv": os.urandom(20_000)}, "w:gz").read_bytes()[:-9])


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (encrypted, "'a.csv' is encrypted; expected files without a password"),
        (nested, "a/inner, an archive within another"),
        (nested_tar, "a/inner.tgz, an archive within another"),
        (twice_compressed, "a, an archive within another"),
        (zip_in_gzip, "a, an archive within another"),
        (zip_in_tar, "a/a.zip, an archive within another"),
        (named_twice, "a with two members 'a.csv'"),
        (cut_zip, "a, which can't be read: File is not a zip file"),
        (changed_member, "a/a.csv, which can't be read: Bad CRC-32"),
        (short_member, "a/a.csv, which (is cut off|can't be read)"),
        (cut_tar, "a, which is cut off"),
        (tar_without_end, "a, which is cut off"),
        (tar_with_bad_header, "a, which can't be read: (bad checksum|invalid header)"),
        (cut_tar_in_gzip, "a, which is cut off"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_archive_that_can_not_be_trusted_is_a_sentence(make, said, folder, scratch):
    make(folder / "a")
    with pytest.raises(InputError, match=said):
        open_source(str(folder), scratch)


def test_a_tar_header_may_not_claim_any_length(folder, scratch):
    with tarfile.open(folder / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        entry = tarfile.TarInfo("long")
        entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 64 << 20
        archive.addfile(entry, io.BytesIO(b"n" * (64 << 20)))
    with pytest.raises(InputError, match="a header longer than any name"):
        open_source(str(folder), scratch)


def test_a_sparse_member_is_bounded(folder, scratch, monkeypatch):
    """Half a kilobyte on disk that says it is a terabyte."""
    sparse = tarfile.TarInfo("a.csv")
    sparse.size = 0
    header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    (folder / "a.tar").write_bytes(bytes(header) + bytes(10240 - 512))
    with pytest.raises(InputError, match="a zip bomb"):
        open_source(str(folder), scratch)


def test_a_list_of_members_may_not_fill_the_memory(folder, scratch, monkeypatch):
    monkeypatch.setattr(compression, "MAX_DIRECTORY", 1000)
    zipped(folder / "a.zip", {f"{number:05}.csv": ROWS for number in range(100)})
    with pytest.raises(InputError, match="whose list of members alone has"):
        open_source(str(folder), scratch)


def test_an_archive_that_took_another_s_place_is_read_anew(folder, scratch):
    for text in (ROWS, ROWS + b"3,green sock\n"):
        zipped(folder / "a.zip", {"a.csv": text})
        assert contents(folder, scratch) == {"a.zip/a.csv": text}


def test_an_office_file_is_no_archive_of_data(folder, scratch):
    zipped(folder / "table.xlsx", {"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"})
    with pytest.raises(InputError, match=r"table\.xlsx: a spreadsheet, text or program"):
        open_source(str(folder / "table.xlsx"), scratch)


# Buckets


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.create_bucket(f"source-{abs(hash(request.node.name)) % 10**9}")


def put(s3: S3, bucket: str, objects: dict[str, bytes]) -> None:
    client = boto3.client(
        "s3", endpoint_url=s3.endpoint, region_name="us-east-1",
        aws_access_key_id=s3.access_key, aws_secret_access_key=s3.secret_key,
    )  # fmt: skip
    for key, body in objects.items():
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=body)


def test_keys_and_prefixes_of_a_bucket(s3, bucket, scratch):
    weird = "sub/we ird#?%20ü.csv"
    put(s3, bucket, {
        "d/a.csv": ROWS, f"d/{weird}": b"id\n1\n", "d/b.csv.gz": gzip.compress(ROWS), "d/README.md": b"x", "d/empty.csv": b"",
        "d/.hidden": b"x", "d/folder/": b"", "da.csv": b"id\n7\n",
    })  # fmt: skip
    below = {"a.csv": ROWS, "b.csv.gz": ROWS, weird: b"id\n1\n"}
    assert contents(f"{bucket}/d/", scratch / "1") == below
    assert contents(f"{bucket}/d", scratch / "2") == {f"d/{name}": body for name, body in below.items()}
    assert contents(f"{bucket}/d/a.csv", scratch / "3") == {"a.csv": ROWS}
    assert contents(f"{bucket}/d/{weird}", scratch / "4") == {weird.rpartition("/")[2]: b"id\n1\n"}
    assert contents(f"{bucket}/da", scratch / "5") == {"da.csv": b"id\n7\n"}
    assert set(contents(bucket, scratch / "6")) == {"da.csv", *(f"d/{name}" for name in below)}
    assert asides(f"{bucket}/d/", scratch / "7") == {
        "README.md": "a text about the data", "empty.csv": "empty", ".hidden": "hidden", "folder": "empty",
    }  # fmt: skip
    assert {path.parent for path in scratch.rglob("*") if path.is_file()} == {scratch / str(n) / "fetched" for n in range(1, 8)}


def test_an_archive_in_a_bucket(s3, bucket, scratch, tmp_path):
    put(s3, bucket, {"x.json.zip": zipped(tmp_path / "a.zip", {"x.json": b"[]"}).read_bytes()})
    assert contents(f"{bucket}/x.json.zip", scratch) == {"x.json.zip/x.json": b"[]"}


def test_a_large_object_is_fetched_whole(s3, bucket, scratch):
    body = os.urandom(24 << 20)
    put(s3, bucket, {"large.csv": b"id\n" + body})
    (file,) = open_source(f"{bucket}/large.csv", scratch)
    assert file.path.read_bytes() == b"id\n" + body


def test_the_endpoint_may_be_given(s3, bucket, scratch, monkeypatch):
    put(s3, bucket, {"a.csv": ROWS})
    monkeypatch.delenv("RATCHET_S3_ENDPOINT")
    (file,) = open_source(f"{bucket}/a.csv", scratch, s3.endpoint)
    assert content(file) == ROWS


def test_what_a_bucket_refuses_is_a_sentence(s3, bucket, scratch, monkeypatch):
    with pytest.raises(InputError, match="where nothing lies; expected a key, or a prefix"):
        open_source(f"{bucket}/nothing", scratch)
    with pytest.raises(InputError, match="expected a bucket that exists"):
        open_source("s3://no-such-bucket/a/", scratch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(InputError, match="an account that may read"):
        open_source(f"{bucket}/a.csv", scratch)


def test_a_silent_server_is_worth_another_try(scratch, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TryAgain, match="expected an S3 server that answers"):
            open_source("s3://bucket/a.csv", scratch, endpoint)


class _Breaking(BaseHTTPRequestHandler):
    """A server that breaks off in the middle of what it sends."""

    def do_HEAD(self):
        self._head()

    def do_GET(self):
        self._head()
        self.wfile.write(b"id,text\n")

    def _head(self):
        self.send_response(200)
        for name, value in {"Content-Length": "1000", "ETag": '"1"', "Last-Modified": "Tue, 24 Nov 2026 00:00:00 GMT"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *given):
        pass


def test_an_object_that_comes_in_half_is_not_taken_for_whole(scratch, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with HTTPServer(("127.0.0.1", 0), _Breaking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(TryAgain, match="an S3 server that answers"):
            open_source("s3://bucket/a.csv", scratch, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
