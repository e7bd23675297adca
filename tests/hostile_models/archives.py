"""Archives that lie: about what they hold, how large it is, where it goes."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile
import zlib

from tests.hostile_models import making
from tests.hostile_models.making import CONFIG_NAME, METADATA_NAME, WEIGHTS_NAME, archive, content, good, sequential

MB = 2**20


def truncated() -> bytes:
    whole = good()
    return whole[: len(whole) // 2]


def a_single_byte() -> bytes:
    return b"P"


def a_pickle() -> bytes:
    return pickle.dumps({"model": [1, 2, 3]})


def plain_hdf5() -> bytes:
    return making.weights()


def _zeros(megabytes: int) -> tuple[bytes, int]:
    """So many compressed, and their checksum. A block that refers to none before it can be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(MB)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(megabytes):
        checksum = zlib.crc32(bytes(MB), checksum)
    return block * megabytes + packer.flush(), checksum


def a_zip_bomb() -> bytes:
    """300 MB of zeros, a thousandth of that in the archive."""
    made = archive(sequential())
    _append(made, "assets/a.txt", *_zeros(300), 300 * MB)
    return content(made)


def a_bomb_of_many_parts() -> bytes:
    """Twenty members of 250 MB, each small enough by itself."""
    made = archive(sequential())
    packed, checksum = _zeros(250)
    for number in range(20):
        _append(made, f"assets/{number}.txt", packed, checksum, 250 * MB)
    return content(made)


def _append(made: zipfile.ZipFile, name: str, packed: bytes, checksum: int, size: int) -> None:
    """A member whose compressed bytes are there already."""
    stream = made.fp
    assert isinstance(stream, io.BytesIO)
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.compress_size, member.file_size, member.CRC = len(packed), size, checksum
    stream.seek(made.start_dir)
    member.header_offset = stream.tell()
    stream.write(member.FileHeader(zip64=False) + packed)
    made.start_dir = stream.tell()
    made.filelist.append(member)
    made.NameToInfo[name] = member


def overlapping_members() -> bytes:
    """A hundred entries of the table for the same bytes: what is quoted so expands without end."""
    made = archive(sequential())
    data = bytes(200_000)
    made.writestr("assets/0.txt", data, zipfile.ZIP_STORED)
    first = made.getinfo("assets/0.txt")
    for number in range(1, 100):
        other = zipfile.ZipInfo(f"assets/{number}.txt")
        other.compress_size = other.file_size = len(data)
        other.CRC, other.header_offset = first.CRC, first.header_offset
        made.filelist.append(other)
    return content(made)


def a_zip64_that_lies() -> bytes:
    """The table says in its 64-bit field that the weights have 8 EB."""
    whole = bytearray(content(archive(sequential(), zipfile.ZIP_STORED)))
    made = zipfile.ZipFile(io.BytesIO(bytes(whole)))
    member = made.getinfo(WEIGHTS_NAME)
    member.file_size = 2**63 - 1
    return _with_table(whole, made)


def _with_table(whole: bytearray, made: zipfile.ZipFile) -> bytes:
    """The same members behind a table made from the changed entries."""
    start = made.start_dir
    stream = io.BytesIO()
    stream.write(whole[:start])
    writer = zipfile.ZipFile(io.BytesIO(), "w")
    writer.filelist = made.filelist
    writer.start_dir = 0
    writer._didModify = True
    inner = writer.fp
    assert isinstance(inner, io.BytesIO)
    writer.close()
    table = bytearray(inner.getvalue())
    # Where the table begins, which the end of it says: after the members and not at 0.
    end = table.rindex(b"PK\x05\x06")
    struct.pack_into("<L", table, end + 16, start)
    stream.write(table)
    return stream.getvalue()


def more_than_declared() -> bytes:
    """A config of which the table says that it is ten bytes long."""
    whole = bytearray(content(archive(sequential(), zipfile.ZIP_STORED)))
    made = zipfile.ZipFile(io.BytesIO(bytes(whole)))
    member = made.getinfo(CONFIG_NAME)
    member.file_size = member.compress_size = 10
    return _with_table(whole, made)


def many_members() -> bytes:
    made = archive(sequential(), zipfile.ZIP_STORED)
    for number in range(21_000):
        made.writestr(f"assets/{number}.txt", b"")
    return content(made)


def an_encrypted_member() -> bytes:
    whole = bytearray(content(archive(sequential())))
    made = zipfile.ZipFile(io.BytesIO(bytes(whole)))
    made.getinfo(CONFIG_NAME).flag_bits |= 1
    return _with_table(whole, made)


def another_compression() -> bytes:
    return content(archive(sequential(), zipfile.ZIP_LZMA))


def _with(name: str, data: bytes = b"x") -> bytes:
    made = archive(sequential())
    made.writestr(name, data)
    return content(made)


def a_path_that_climbs() -> bytes:
    return _with("../../climbed")


def an_absolute_path() -> bytes:
    return _with("/etc/cron.d/absolute")


def a_climb_within_assets() -> bytes:
    return _with("assets/../../../climbed.txt")


def backslashes() -> bytes:
    return _with("assets\\..\\..\\climbed.txt")


def a_drive() -> bytes:
    return _with("C:climbed.txt")


def a_name_of_nul() -> bytes:
    """zipfile ends a name at its first nul byte; another program may not."""
    return _with("assets/a.txtXX").replace(b"assets/a.txtXX", b"assets/a.txt\0X")


def a_name_in_other_letters() -> bytes:
    """Dots of full width, which some file systems take for plain ones, and a name that reads from right to left."""
    return _with("\uff0e\uff0e/\u202etxt.a")


def a_symlink() -> bytes:
    made = archive(sequential())
    link = zipfile.ZipInfo("assets/link.txt")
    link.external_attr = 0o120777 << 16
    made.writestr(link, "/etc/passwd")
    return content(made)


def a_device() -> bytes:
    made = archive(sequential())
    device = zipfile.ZipInfo("assets/device.txt")
    device.external_attr = 0o020666 << 16
    made.writestr(device, b"")
    return content(made)


def a_pickled_member() -> bytes:
    return _with("model.pkl", pickle.dumps(print))


def weights_as_npz() -> bytes:
    """Another form of weights that Keras reads, with numpy's pickles in it."""
    made = archive(sequential(), **{WEIGHTS_NAME: None})
    made.writestr("model.weights.npz", pickle.dumps(print))
    return content(made)


def an_archive_in_the_archive() -> bytes:
    return _with("assets/inner.keras", good())


def a_duplicate_member() -> bytes:
    """Whoever reads the first config sees nothing; whoever reads the last, a Lambda."""
    made = archive(sequential())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.writestr(CONFIG_NAME, json.dumps(sequential(making.layer("Lambda", "l"))))
    return content(made)


def no_metadata() -> bytes:
    return content(archive(sequential(), **{METADATA_NAME: None}))


def metadata_of_keras_2() -> bytes:
    return content(archive(sequential(), **{METADATA_NAME: b'{"keras_version": "2.15.0"}'}))


def metadata_that_is_a_list() -> bytes:
    return content(archive(sequential(), **{METADATA_NAME: b"[]"}))


def metadata_of_many_versions() -> bytes:
    return content(archive(sequential(), **{METADATA_NAME: b'{"keras_version": "' + b"3." * 30_000 + b'0"}'}))


def no_weights() -> bytes:
    return content(archive(sequential(), **{WEIGHTS_NAME: None}))
