"""Pack a folder of pictures into numbered tar shards, as WebDataset lays them out.

python pack_shards.py photos shards --shards 64 --shorter 384

Each picture is ``00000042.jpg``, beside ``00000042.txt`` with its name in the folder.
The same folder gives the same bytes. Pictures are dealt out in a drawn order, so that a
shard is a sample of the whole; ``sizes.json`` says how many each shard has.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from pathlib import Path
from typing import BinaryIO

import numpy

from pltutorial import InputError
from pltutorial.errors import as_sentence
from pltutorial.files import write_whole
from pltutorial.images import open_picture, to_rgb
from pltutorial.training.archives import PictureFiles, find_pictures


def as_jpeg(files: PictureFiles, number: int, shorter: int, quality: int) -> bytes:
    """A picture as JPEG, its shorter side at most ``shorter`` pixels (0: as it is)."""
    picture = to_rgb(open_picture(files.open(number), files.name(number)))
    if 0 < shorter < min(picture.size):
        scale = shorter / min(picture.size)
        picture = picture.resize([round(scale * length) for length in picture.size])
    made = io.BytesIO()
    picture.save(made, "JPEG", quality=quality)
    return made.getvalue()


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # no owner and no time: the same bytes every time
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def pack(
    source: str | Path, target: str | Path, shards: int, shorter: int = 0, quality=90
) -> dict[str, int]:
    """Write the shards; gives how many pictures each has. Broken ones are named."""
    files = find_pictures(source)
    order = numpy.random.default_rng(0).permutation(len(files))
    if not 0 < shards <= len(files):
        raise InputError(
            f"{shards} shards of {len(files)} pictures were asked for; give at least 1 "
            "and no more than there are pictures"
        )
    try:
        Path(target).mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(
            f"the folder {str(target)!r} cannot be made ({problem.strerror}); give "
            "another place for the shards"
        ) from None
    sizes: dict[str, int] = {}
    for shard in range(shards):
        name = f"{shard:06d}.tar"
        sizes[name] = 0

        def fill(file: BinaryIO, shard: int = shard, name: str = name) -> None:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as t:
                for number in order[shard::shards]:
                    try:
                        data = as_jpeg(files, number, shorter, quality)
                    except (InputError, OSError) as problem:
                        print(f"left out: {problem}")
                        continue
                    add(t, f"{number:08d}.jpg", data)
                    add(t, f"{number:08d}.txt", files.name(number).encode())
                    sizes[name] += 1

        write_whole(Path(target, name), fill)
    text = json.dumps(sizes, indent=1) + "\n"
    write_whole(Path(target, "sizes.json"), lambda file: file.write(text.encode()))
    return sizes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--shorter", type=int, default=384, help="pixels; 0: as it is")
    given = parser.parse_args()
    with as_sentence():
        found = pack(given.source, given.target, given.shards, given.shorter)
        print(f"{sum(found.values())} pictures in {len(found)} shards")
