"""COCO from the network to a folder or to tar shards: resumed where it was cut,
checked, never half a file.

Nothing here needs PyTorch.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import io
import math
import os
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm.auto import tqdm

from ..errors import InputError, nearest
from ..files import held

# its https certificate names another host
COCO_URL = "http://images.cocodataset.org/zips"
SHARD = 1000  # pictures in a tar, about 160 MB
_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte
# seconds before each further attempt; any progress starts them anew
_PAUSES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Archive:
    """A zip of pictures: its size in bytes, its MD5 sum and how many
    pictures it holds.
    """

    size: int
    md5: str
    pictures: int


# Microsoft COCO (Lin et al. 2014). Its own site publishes no checksums. These MD5 sums
# are those that LAVIS (2014) and GluonCV and other downloaders (2017) carry, the sizes
# those that the server states.
COCO = {
    "train2014": Archive(13_510_573_713, "0da8c0bd3d6becc4dcb32757491aca88", 82_783),
    "val2014": Archive(6_645_013_297, "a3d79f5ed8d289b7a7554ce06a5782b3", 40_504),
    "train2017": Archive(19_336_861_798, "cced6f7f71b7629ddf16f17bbcfab6b2", 118_287),
    "val2017": Archive(815_585_330, "442b8da7639aecaf257c1dceb8ba8c80", 5_000),
}


def coco(
    split: str = "train2014",
    to: str | os.PathLike = "coco",
    *,
    url: str = COCO_URL,
    shards: bool = False,
    remove_zip: bool = False,
    progress: bool = True,
) -> str:
    """Download a part of COCO and unpack it, going on from wherever an
    earlier call was cut.

    Args:
        split: ``train2014`` (82,783 pictures, the set of Johnson et al. 2016),
            ``val2014``, ``train2017`` or ``val2017``.
        to: the folder; the pictures go into a folder of the split's name within it.
        url: where the zips lie; a mirror must hold the same files.
        shards: write WebDataset tar shards of a thousand pictures
            instead of single files.
        remove_zip: delete the zip when all is unpacked.
        progress: show bars with rate and remaining time.

    Returns:
        What to give to :class:`pltutorial.datasets.Pictures`: a folder, or a
        pattern of shards.

    Raises:
        InputError: no network, the server has another file or none, the disk is full,
            the folder is read-only, the checksum is wrong; what was downloaded stays.

    Taught in chapter 5.
    """
    if split not in COCO:
        raise InputError(f"COCO has no part {split!r} here; {nearest(split, COCO)}")
    if not _is_address(url):
        raise InputError(
            f"the address {url!r} was given; give one that begins "
            "with http:// or https://"
        )
    archive, folder = COCO[split], Path(to)
    zipped = folder / f"{split}.zip"
    count = math.ceil(archive.pictures / SHARD)
    width = max(6, len(str(count - 1)))
    names = [f"{split}-{number:0{width}}.tar" for number in range(count)]
    if shards:
        result = folder / f"{split}-{{{0:0{width}}..{count - 1:0{width}}}}.tar"
        done = all((folder / name).is_file() for name in names)
    else:
        result = folder / split
        done = result.is_dir() and archive.pictures <= sum(
            path.suffix == ".jpg" for path in _visible(result)
        )
    if not done:
        with ExitStack() as stack:
            with _disk(folder):
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(folder))
            fetch(
                f"{url.rstrip('/')}/{split}.zip",
                zipped,
                archive.size,
                archive.md5,
                progress=progress,
            )
            if shards:
                paths = [folder / name for name in names]
                write_shards(zipped, paths, progress=progress)
            else:
                unpack(zipped, result, progress=progress)
    if remove_zip:
        with _disk(folder):
            zipped.unlink(missing_ok=True)
    return str(result)


def _is_address(url: str) -> bool:
    try:
        return bool(urllib.parse.urlsplit(url).hostname) and url.startswith(
            ("http://", "https://")
        )
    except ValueError:  # a bracket of an IPv6 address that stays open
        return False


def fetch(
    url: str, target: str | os.PathLike, size: int, md5: str, *, progress: bool = True
) -> Path:
    """Download one file whose size and MD5 sum are known.

    The bytes are kept in ``target.part`` until they are complete and checked. A cut
    connection is taken up again, five times without any progress; a later call goes on
    from what is there.

    Raises:
        InputError: see :func:`coco`.

    Taught in chapter 5.
    """
    target = Path(target)
    if target.is_file():
        if target.stat().st_size == size:  # only a checked file gets this name
            return target
        raise InputError(
            f"{str(target)!r} has {target.stat().st_size:,} bytes, not the {size:,} "
            "of the published file; move it away and run this again"
        )
    part = target.with_name(f"{target.name}.part")
    with _opened(part) as file:
        have = file.seek(0, os.SEEK_END)
        if have > size:
            raise InputError(
                f"{str(part)!r} has {have:,} bytes, more than the {size:,} of the "
                "published file; remove it and run this again"
            )
        _check_space(part.parent, size - have)
        digest = hashlib.md5(usedforsecurity=False)
        _digest(file, have, digest, progress)
        with _bar(target.name, size, progress, done=have) as bar:
            _receive(url, file, have, size, digest, bar)
        with _disk(part.parent):
            os.fsync(file.fileno())
    if digest.hexdigest() != md5:
        wrong = target.with_name(f"{target.name}.wrong")
        with _disk(part.parent):
            part.replace(wrong)
        raise InputError(
            f"{target.name} from {url} has the MD5 sum {digest.hexdigest()} "
            f"and {md5} is published; it is kept as {wrong.name}, run this "
            "again or give another --url"
        )
    with _disk(part.parent):
        part.replace(target)
    return target


def _receive(
    url: str, file: io.FileIO, have: int, size: int, digest: Any, bar: tqdm
) -> None:
    """Appends to the file what it lacks."""
    failures, reached = 0, False
    while have < size:
        before = have
        try:
            for block in _blocks(url, have, size):
                with _disk(file.name):
                    rest = memoryview(block)
                    while rest:  # near a full disk less is written than was asked for
                        rest = rest[file.write(rest) :]
                digest.update(block)
                have += len(block)
                bar.update(len(block))
        except _Cut as cut:
            reached |= cut.answered
            failures = 1 if have > before else failures + 1
            if failures > len(_PAUSES) or not reached:
                advice = "check the network, or give another --url"
                if have:
                    advice = f"{have:,} of {size:,} bytes are kept, run this again "
                    advice += "to go on from there"
                raise InputError(
                    f"{url} could not be downloaded ({cut}); {advice}"
                ) from None
            time.sleep(_PAUSES[failures - 1])


class _Cut(Exception):
    """The connection failed in a way that may pass; ``answered`` says
    whether there was one.
    """

    def __init__(self, reason: object, answered: bool = True):
        super().__init__(
            getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        )
        self.answered = answered


def _blocks(url: str, have: int, size: int) -> Iterator[bytes]:
    """The bytes of an address from number ``have`` on, until they end or the
    connection is cut.
    """
    headers = {"User-Agent": "pltutorial", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        answer = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT
        )
    except urllib.error.HTTPError as problem:
        if problem.code >= 500 or problem.code in (408, 429):
            raise _Cut(f"the server answered {problem.code} {problem.reason}") from None
        raise InputError(
            f"{url} cannot be downloaded, the server answered {problem.code} "
            f"{problem.reason}; give another --url"
        ) from None
    except (http.client.HTTPException, OSError) as problem:
        raise _Cut(getattr(problem, "reason", problem), answered=False) from None
    with answer:
        total, skip = _measure(answer, have)
        if total not in (None, size):
            raise InputError(
                f"{url} has {total:,} bytes, not the {size:,} of the published "
                "file; give another --url"
            )
        while skip:  # a server that ignores Range sends all again
            skip -= len(_read(answer, skip))
        left = size - have
        while left:
            block = _read(answer, left)
            left -= len(block)
            yield block


def _read(answer: http.client.HTTPResponse, left: int) -> bytes:
    try:
        block = answer.read(min(left, _BLOCK))
    except (http.client.HTTPException, OSError) as problem:
        raise _Cut(problem) from None
    if not block:
        raise _Cut("the connection was cut")
    return block


def _measure(answer: Any, have: int) -> tuple[int | None, int]:
    """The size of the whole file as the server states it, and how many bytes come that
    are there already.
    """
    if answer.status == 206:
        stated = re.match(
            r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range") or ""
        )
        if stated is None or int(stated[1]) > have:
            raise _Cut("the server sent other bytes than it was asked for")
        return int(stated[2]), have - int(stated[1])
    length = answer.headers.get("Content-Length")
    return int(length) if length and length.isdigit() else None, have


def unpack(
    archive: str | os.PathLike, folder: str | os.PathLike, *, progress: bool = True
) -> int:
    """Unpack a zip's pictures into one folder, those that are there already left alone;
    gives their number.

    Each picture is written beside its place and renamed, so that none is half there.

    Taught in chapter 5.
    """
    folder = Path(folder)
    with _zip(archive) as (source, members):
        with _disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            there = {path.name: path.stat().st_size for path in _visible(folder)}
        missing = [
            member for member in members if there.get(_name(member)) != member.file_size
        ]
        _check_space(folder, sum(member.file_size for member in missing))
        beside = folder / ".unpacking"
        with _bar(
            folder.name, len(members), progress, len(members) - len(missing), "picture"
        ) as bar:
            for member in missing:
                data = source.read(member)
                with _disk(folder):
                    beside.write_bytes(data)
                    beside.replace(folder / _name(member))
                bar.update()
        return len(members)


def write_shards(
    archive: str | os.PathLike, shards: list[Path], *, progress: bool = True
) -> list[Path]:
    """Write a zip's pictures into tar files of a thousand each, those that are there
    already left alone.

    The same zip always gives the same bytes.

    Taught in chapter 5.
    """
    with _zip(archive) as (source, members):
        if math.ceil(len(members) / SHARD) != len(shards):
            raise InputError(
                f"{str(archive)!r} holds {len(members):,} pictures for {len(shards)} "
                f"shards of {SHARD}; download it again"
            )
        groups = {
            shard: members[i * SHARD : (i + 1) * SHARD]
            for i, shard in enumerate(shards)
        }
        missing = [shard for shard in shards if not shard.is_file()]
        _check_space(
            shards[0].parent,
            sum(m.file_size + 1024 for shard in missing for m in groups[shard]),
        )
        done = sum(len(groups[shard]) for shard in shards if shard not in missing)
        with _bar("shards", len(members), progress, done, "picture") as bar:
            for shard in missing:
                beside = shard.with_name(".sharding")
                with _disk(shard.parent), beside.open("wb") as file:
                    with tarfile.open(fileobj=file, mode="w") as target:
                        for member in groups[shard]:
                            entry = tarfile.TarInfo(_name(member))
                            entry.size = member.file_size
                            target.addfile(entry, io.BytesIO(source.read(member)))
                            bar.update()
                    file.flush()
                    os.fsync(file.fileno())
                with _disk(shard.parent):
                    beside.replace(shard)
        return shards


@contextmanager
def _zip(
    path: str | os.PathLike,
) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """An opened zip and its pictures by name; a damaged one is refused."""
    try:
        with zipfile.ZipFile(path) as source:
            members = {
                _name(member): member
                for member in source.infolist()
                if _name(member).endswith(".jpg")
            }
            yield source, [members[name] for name in sorted(members)]
    except (zipfile.BadZipFile, EOFError, zlib.error) as problem:
        raise InputError(
            f"{str(path)!r} is damaged ({problem}); remove it and run this again"
        ) from None


def _name(member: zipfile.ZipInfo) -> str:
    """The last part of a member's path: nothing is ever unpacked outside the folder."""
    return PurePosixPath(member.filename).name


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


@contextmanager
def _opened(part: Path) -> Iterator[io.FileIO]:
    """The unfinished file, open for reading and appending by this process alone."""
    with _disk(part.parent):
        file = part.open("a+b", buffering=0)
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another process is downloading to {str(part)!r}; wait for it or "
                "choose another folder with --to"
            ) from None
        except (ImportError, OSError):  # Windows, and network drives that cannot lock
            pass
        yield file


def _digest(file: io.FileIO, have: int, digest: Any, progress: bool) -> None:
    """The bytes that are there already, for the checksum."""
    file.seek(0)
    with _bar("reading what is there", have, progress and have > 0) as bar:
        while have and (block := file.read(min(have, _BLOCK))):
            digest.update(block)
            have -= len(block)
            bar.update(len(block))


def _bar(name: str, total: int, progress: bool, done: int = 0, unit: str = "B") -> tqdm:
    """A progress bar with rate and remaining time."""
    silent = not progress or bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(
        total=total,
        initial=done,
        desc=name,
        unit=unit,
        unit_scale=True,
        disable=silent,
        leave=False,
    )


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{needed / 1e9:.1f} GB more are needed in {str(folder)!r} and "
            f"{free / 1e9:.1f} GB are free; free space or choose another folder with "
            "--to, nothing that is there is lost"
        )


@contextmanager
def _disk(folder: str | os.PathLike) -> Iterator[None]:
    """What the disk refuses, in one sentence."""
    try:
        yield
    except OSError as problem:
        full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else problem.strerror or problem
        raise InputError(
            f"{str(folder)!r} cannot be written to ({reason}); "
            f"{'free space' if full else 'change its permissions'} or choose another "
            "folder with --to, nothing that is there is lost"
        ) from None
