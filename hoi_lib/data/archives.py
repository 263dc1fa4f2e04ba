"""Archives as downloaded: unpacked into one folder and nowhere else, whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from hoi_lib.data.raw import CHAPTER, DAMAGE, damaged, inside
from hoi_lib.errors import OutputError, RawDataError

BLOCK = 1 << 20  # bytes copied at a time


class Member(NamedTuple):
    """A file of an archive: its ``name``, stated ``size`` in bytes, and whether it is ``plain``: no link, no device."""

    name: str
    size: int
    plain: bool
    handle: zipfile.ZipInfo | tarfile.TarInfo


def unpack(archive: str | os.PathLike, target: str | os.PathLike) -> Path:
    """Unpack a .zip or .tar (of any compression) as the new folder ``target``; returns it.

    Every name is looked at before the first file is written. Raises :class:`RawDataError` for a damaged archive, for
    one with links or with a name that leads out of ``target``, and for one that states more than the disk has room
    for; :class:`OutputError` where ``target`` exists or cannot be written. Then nothing is left behind.
    """
    archive, target = Path(archive), Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"{target}: is there already.", "Choose a new folder.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written ({error.strerror or error}).", "Choose another folder."
        ) from error
    try:
        _unpack(archive, partial)
        partial.chmod(0o755)
        os.replace(partial, target)
    except RawDataError:
        raise
    except (*DAMAGE, tarfile.TarError, RuntimeError) as error:
        raise damaged(archive, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _unpack(archive: Path, folder: Path) -> None:
    with ExitStack() as stack:
        make = zipfile.ZipFile if zipfile.is_zipfile(archive) else tarfile.open
        opened = stack.enter_context(make(archive))
        members = list(_members(opened))
        places = [inside(folder, member.name) for member in members]
        if odd := next((member for member in members if not member.plain), None):
            raise damaged(archive, f"{odd.name} is no plain file: refused")
        total, free = sum(member.size for member in members), shutil.disk_usage(folder).free
        if total > free:
            raise RawDataError(f"{archive}: unpacks to {total} bytes, the disk has {free}", "Make room.", CHAPTER)
        for member, place in zip(members, places, strict=True):
            place.parent.mkdir(parents=True, exist_ok=True)
            with _open(opened, member) as source, open(place, "xb") as copy:
                _copy(source, copy, member, archive)


def _members(opened: zipfile.ZipFile | tarfile.TarFile) -> Iterator[Member]:
    """The files of an archive; folders come of themselves."""
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if not info.is_dir():
                yield Member(info.filename, info.file_size, kind in (0, stat.S_IFREG), info)
    else:
        for info in opened:
            if not info.isdir():
                yield Member(info.name, info.size, info.isreg(), info)


def _open(opened: zipfile.ZipFile | tarfile.TarFile, member: Member) -> BinaryIO:
    if isinstance(opened, zipfile.ZipFile):
        return opened.open(member.handle)
    return opened.extractfile(member.handle)


def _copy(source: BinaryIO, target: BinaryIO, member: Member, archive: Path) -> None:
    """Copy what the member states, and not a byte more."""
    left = member.size
    while block := source.read(BLOCK):
        left -= len(block)
        if left < 0:
            break
        target.write(block)
    if left:
        raise damaged(archive, f"{member.name} is not of the {member.size} bytes that are stated")
