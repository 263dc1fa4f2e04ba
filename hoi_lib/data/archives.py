"""Archives as downloaded: unpacked into one folder and nowhere else, whole or not at all."""

from __future__ import annotations

import errno
import io
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from hoi_lib.data.raw import CHAPTER, DAMAGE, damaged, inside
from hoi_lib.errors import HoiError, OutputError, RawDataError

BLOCK = 1 << 20  # bytes copied at a time


class Member(NamedTuple):
    """A file of an archive: its ``name``, stated ``size`` in bytes, and whether it is ``plain``: no link, no device."""

    name: str
    size: int
    plain: bool
    handle: zipfile.ZipInfo | tarfile.TarInfo


def unpack(archives: str | os.PathLike | Iterable[str | os.PathLike], target: str | os.PathLike) -> Path:
    """Unpack a .zip or .tar (of any compression), or several into one tree, as the new folder ``target``; returns it.

    Every name of an archive is looked at before its first file is written. Raises :class:`RawDataError` for a damaged
    archive, for one with links or with a name that leads out of ``target``, for one that states more than the disk has
    room for, and for two that hold the same file; :class:`OutputError` where ``target`` holds something or cannot be
    written. Then nothing is left behind.
    """
    archives = [archives] if isinstance(archives, str | os.PathLike) else archives
    target = Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"{target}: is there already.", "Choose a new folder.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{target}: cannot be written ({reason}).", "Choose another folder.") from error
    try:
        for archive in map(Path, archives):
            _unpack_safely(archive, partial)
        partial.chmod(0o755)
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _unpack_safely(archive: Path, folder: Path) -> None:
    """Add the files of one archive to ``folder``; whatever is wrong becomes a :class:`RawDataError`."""
    try:
        _unpack(archive, folder)
    except HoiError:
        raise
    except FileExistsError as error:
        name = Path(error.filename).relative_to(folder)
        raise damaged(archive, f"holds {name}, and so does another archive", None) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS) and error.filename != str(archive):
            raise OutputError(f"{folder}: cannot be written ({error.strerror}).", "Make room.") from error
        raise damaged(archive, error) from error
    except (*DAMAGE, tarfile.TarError, lzma.LZMAError, RuntimeError) as error:  # RuntimeError: an encrypted member
        raise damaged(archive, error) from error


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


def _open(opened: zipfile.ZipFile | tarfile.TarFile, member: Member) -> io.BufferedIOBase:
    if isinstance(opened, zipfile.ZipFile):
        return opened.open(member.handle)
    return opened.extractfile(member.handle)


def _copy(source: io.BufferedIOBase, target: io.BufferedIOBase, member: Member, archive: Path) -> None:
    """Copy what the member states, and not a byte more."""
    left = member.size
    while block := source.read(BLOCK):
        left -= len(block)
        if left < 0:
            break
        target.write(block)
    if left:
        raise damaged(archive, f"{member.name} is not of the {member.size} bytes that are stated")
