"""Pictures for training: one number, one crop, whatever the process; broken files are
skipped, counted and named.
"""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy
import pytest
import torch
from helpers import refused
from PIL import Image

from pltutorial import bundled_names
from pltutorial.datasets import BrokenPictures, Pictures


def ramp(height: int, width: int, blue: int = 0) -> numpy.ndarray:
    """Red grows to the right, green downwards, from 0 to 255: a crop's values
    say where it was cut.
    """
    array = numpy.full((height, width, 3), blue, numpy.uint8)
    array[..., 0] = numpy.linspace(0, 255, width).round()
    array[..., 1] = numpy.linspace(0, 255, height).round()[:, None]
    return array


def fill(folder: Path, count: int = 8, sides: tuple[int, int] = (40, 60)) -> Path:
    """Pictures below a folder, some deeper; the blue of each is
    ten times its number.
    """
    for i in range(count):
        path = folder / ("a" if i % 2 else "b/c") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ramp(*sides, blue=10 * i)).save(path)
    return folder


def which(crop: torch.Tensor) -> int:
    """The number of the picture that a crop of :func:`fill` was cut from."""
    return round(float(crop[2].mean()) * 25.5)


def zipped(folder: Path, path: Path, method: int) -> Path:
    """The folder's pictures in one zip, in the order of their names."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for picture in sorted(folder.rglob("*.*")):
            archive.write(picture, picture.relative_to(folder).as_posix())
    return path


def pack(folder: Path, target: Path, count: int) -> str:
    """The folder's pictures in tar shards, with the text that stands beside
    each in such shards.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for number in range(count):
        with tarfile.open(target / f"shard-{number:03}.tar", "w") as archive:
            for path in files[
                number * len(files) // count : (number + 1) * len(files) // count
            ]:
                for name in (f"{path.stem}.txt", f"._{path.name}"):
                    note = tarfile.TarInfo(name)
                    note.size = 5
                    archive.addfile(note, io.BytesIO(b"a cat"))
                link = tarfile.TarInfo(f"link-{path.name}")
                link.type, link.linkname = tarfile.SYMTYPE, path.name
                archive.addfile(link)
                archive.add(path, path.relative_to(folder).as_posix())
    return str(target / f"shard-{{000..{count - 1:03}}}.tar")


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "pictures")


def crops(pictures, numbers) -> torch.Tensor:
    return torch.stack([pictures[n][0] for n in numbers])


class TestCrops:
    def test_form(self, folder):
        crop, broken = Pictures(folder, 32)[0]
        assert crop.shape == (3, 32, 32)
        assert crop.dtype == torch.float32
        assert crop.is_contiguous()
        assert 0 <= crop.min() < crop.max() <= 1
        assert broken == ()

    def test_the_bundled_pictures_are_the_default(self):
        pictures = Pictures()
        assert len(pictures) == len(bundled_names("train"))
        assert pictures[0][0].shape == (3, 256, 256)

    def test_every_epoch_sees_every_picture_once_in_another_order(self, folder):
        pictures = Pictures(folder, 32)
        epochs = [
            [which(pictures[8 * epoch + k][0]) for k in range(8)] for epoch in range(3)
        ]
        assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == 3

    def test_a_number_gives_the_same_crop_in_any_order_and_object(self, folder):
        pictures = Pictures(folder, 32)
        forward = crops(pictures, range(20))
        again = pickle.loads(pickle.dumps(Pictures(folder, 32)))
        backward = crops(again, reversed(range(20))).flip(0)
        assert torch.equal(forward, backward)

    def test_another_seed_gives_another_order_and_other_crops(self, folder):
        one, two = Pictures(folder, 32), Pictures(folder, 32, seed=1)
        assert [which(one[k][0]) for k in range(8)] != [
            which(two[k][0]) for k in range(8)
        ]
        assert not torch.equal(one[0][0], two[0][0])

    def test_far_numbers(self, folder):
        far = Pictures(folder, 32)
        assert not torch.equal(far[10**12][0], far[10**12 + 8][0])

    def test_crops_lie_inside_at_all_sizes_and_places(self, tmp_path):
        """A ramp's slope gives the zoom and its middle the place: both must cover their
        range, and no more.
        """
        pictures = Pictures(fill(tmp_path, 1, (192, 256)), 64, zoom=(1, 2), flip=False)
        zooms, across, down, pairs = [], [], [], []
        for n in range(300):
            red, green = pictures[n][0][0].double(), pictures[n][0][1].double()
            assert torch.allclose(red, red[:1].expand_as(red), atol=1 / 255)
            # share of the picture's width; edges left out
            wide = float(red[0, 56] - red[0, 8]) / 48 * 64
            high = float(green[56, 0] - green[8, 0]) / 48 * 64
            assert wide * 256 == pytest.approx(high * 192, abs=4)
            zooms.append(1 / high)
            across.append((float(red[0, 31:33].mean()) - wide / 2) / (1 - wide))
            if high < 0.9:  # nearly the whole height leaves no room to measure
                pairs.append(len(across) - 1)
                down.append((float(green[31:33, 0].mean()) - high / 2) / (1 - high))
        assert 0.97 < min(zooms) < 1.05
        assert 1.95 < max(zooms) < 2.05
        assert numpy.mean(zooms) == pytest.approx(1.5, abs=0.06)
        assert abs(numpy.corrcoef([across[i] for i in pairs], down)[0, 1]) < 0.2
        for shares in (across, down):
            assert -0.03 < min(shares) < 0.05
            assert 0.95 < max(shares) < 1.03
            assert numpy.mean(shares) == pytest.approx(0.5, abs=0.06)

    def test_both_flips_occur_as_often(self, folder):
        pictures = Pictures(folder, 32)
        mirrored = [
            bool(crop[0, 0, 0] > crop[0, 0, -1]) for crop in crops(pictures, range(400))
        ]
        assert 160 < sum(mirrored) < 240
        straight = Pictures(folder, 32, flip=False)
        assert not any(
            crop[0, 0, 0] > crop[0, 0, -1] for crop in crops(straight, range(40))
        )

    def test_a_flip_is_the_same_crop_mirrored(self, folder):
        flipped, straight = Pictures(folder, 32), Pictures(folder, 32, flip=False)
        for n in range(20):
            one, two = flipped[n][0], straight[n][0]
            assert torch.equal(one, two) or torch.equal(one, two.flip(-1))

    def test_zoom_one_is_the_largest_square(self, tmp_path):
        pictures = Pictures(fill(tmp_path, 1, (32, 48)), 32, zoom=(1, 1), flip=False)
        for n in range(10):
            assert float(pictures[n][0][1, 0, 0]) == 0
            assert float(pictures[n][0][1, -1, 0]) == 1

    def test_never_enlarged(self, tmp_path):
        """Crop and picture of one size leave no choice: every crop is
        the picture, exactly.
        """
        pictures = Pictures(
            fill(tmp_path, 1, (32, 32)), 32, zoom=(1.2, 1.5), flip=False
        )
        expected = torch.from_numpy(ramp(32, 32)).permute(2, 0, 1) / 255
        assert all(torch.equal(pictures[n][0], expected) for n in range(5))

    def test_antialiased(self, tmp_path):
        """Stripes of one pixel, shrunk eight times, become grey; picking pixels would
        keep them black or white.
        """
        stripes = numpy.zeros((512, 512, 3), numpy.uint8)
        stripes[:, ::2] = 255
        Image.fromarray(stripes).save(tmp_path / "stripes.png")
        assert (Pictures(tmp_path, 64, zoom=(1, 1))[0][0] - 0.5).abs().max() < 0.05

    def test_a_large_jpeg_decoded_small_looks_as_decoded_whole(self, tmp_path):
        rough = numpy.random.default_rng(0).integers(0, 255, (100, 125, 3), numpy.uint8)
        photo = Image.fromarray(rough).resize((500, 400), Image.Resampling.BICUBIC)
        for kind in ("png", "jpg"):
            (tmp_path / kind).mkdir()
            photo.save(tmp_path / kind / f"p.{kind}", quality=95)
        exact, quick = (Pictures(tmp_path / kind, 64) for kind in ("png", "jpg"))
        for n in range(5):
            assert (exact[n][0] - quick[n][0]).abs().mean() < 0.01
            assert (exact[n][0] - quick[n][0]).abs().max() < 0.1

    @pytest.mark.parametrize("ending", ["jpg", "png"])
    def test_turned_by_its_exif_orientation(self, tmp_path, ending):
        exif = Image.Exif()
        exif[0x0112] = 6  # the stored picture must be turned a quarter to the right
        stored = numpy.rot90(ramp(400, 300), 1)
        Image.fromarray(stored).save(tmp_path / f"p.{ending}", exif=exif, quality=95)
        crop = Pictures(tmp_path, 64, flip=False)[0][0]
        assert crop[0, 32, -1] - crop[0, 32, 0] > 0.4
        assert crop[1, -1, 32] - crop[1, 0, 32] > 0.3
        assert (crop[0, 0] - crop[0, -1]).abs().max() < 0.03

    @pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK", "I;16", "F"])
    def test_every_mode_becomes_rgb(self, tmp_path, mode):
        plain = Image.fromarray(ramp(40, 40))
        if mode == "I;16":
            plain = Image.fromarray(ramp(40, 40)[..., 0].astype(numpy.uint16) * 257)
        elif mode == "F":
            plain = Image.fromarray(ramp(40, 40)[..., 0].astype(numpy.float32) / 255)
        else:
            plain = plain.convert(mode)
        plain.save(tmp_path / "p.tif")
        assert Image.open(tmp_path / "p.tif").mode == mode
        crop, broken = Pictures(tmp_path, 32, flip=False)[0]
        assert broken == ()
        assert crop.shape == (3, 32, 32)
        assert crop[0, :, 28:].mean() - crop[0, :, :4].mean() > 0.2

    def test_below_zero_there_is_no_crop(self, folder):
        with pytest.raises(IndexError, match="from 0"):
            Pictures(folder, 32)[-1]


class TestSources:
    def test_pictures_are_found_below_in_a_fixed_order_and_hidden_ones_left_out(
        self, folder
    ):
        (folder / "a" / ".hidden.png").write_bytes(b"")
        (folder / ".cache").mkdir()
        (folder / ".cache" / "thumb.png").write_bytes(b"")
        (folder / "a" / "notes.txt").write_text("no picture")
        Image.fromarray(ramp(40, 40)).save(folder / "B.JPEG")
        pictures = Pictures(folder, 32)
        names = [pictures._files.name(i) for i in range(len(pictures))]
        assert names == sorted(
            ["B.JPEG", *(f"{'a' if i % 2 else 'b/c'}/{i:02}.png" for i in range(8))]
        )

    def test_linked_folders_are_followed_and_loops_end(self, folder, tmp_path):
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked" / "far").symlink_to(folder)
        (folder / "loop").symlink_to(tmp_path / "linked")
        assert len(Pictures(tmp_path / "linked", 32)) == 8

    def test_shards_equal_the_folder(self, folder, tmp_path):
        (tmp_path / "shards").mkdir()
        pattern = pack(folder, tmp_path / "shards", 3)
        expected = crops(Pictures(folder, 32), range(20))
        assert torch.equal(crops(Pictures(pattern, 32), range(20)), expected)
        assert torch.equal(
            crops(Pictures(tmp_path / "shards", 32), range(20)), expected
        )

    def test_one_tar_and_a_list_of_tars(self, folder, tmp_path):
        pack(folder, tmp_path, 2)
        assert len(Pictures(tmp_path / "shard-000.tar", 32)) == 4
        assert len(Pictures(tmp_path / "shard-{001,000}.tar", 32)) == 8

    def test_pictures_go_before_tars(self, folder):
        pack(folder, folder, 1)
        assert len(Pictures(folder, 32)) == 8

    def test_a_digest_of_the_names(self, folder):
        before = Pictures(folder, 32).digest
        assert before == Pictures(folder, 16, seed=3).digest
        (folder / "a" / "01.png").rename(folder / "a" / "one.png")
        assert Pictures(folder, 32).digest != before

    def test_names_outside_ascii(self, tmp_path):
        Image.fromarray(ramp(40, 40)).save(tmp_path / "北斎 – vague; (1).png")
        assert Pictures(tmp_path, 32)[3][0].shape == (3, 32, 32)

    KINDS = {
        "a.jpg": "JPEG",
        "b.JFIF": "JPEG",
        "c.jpe": "JPEG",
        "d.avif": "AVIF",
        "e.ppm": "PPM",
        "f.gif": "GIF",
        "g.jp2": "JPEG2000",
        "h.qoi": "QOI",
        "i.tga": "TGA",
    }

    @pytest.mark.parametrize("place", ["folder", "tar", "zip", "packed zip"])
    def test_all_kinds_that_pillow_reads_and_what_is_passed_over(self, tmp_path, place):
        """One list for folders and archives; HEIC, a picture under another name and no
        picture stand beside them.
        """
        folder = tmp_path / "pictures"
        folder.mkdir()
        for name, kind in self.KINDS.items():
            Image.fromarray(ramp(40, 40)).save(folder / name, format=kind)
        (folder / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
        (folder / "photo").write_bytes((folder / "a.jpg").read_bytes())
        (folder / "notes.txt").write_text("no picture")
        (folder / ".hidden.heic").write_bytes(b"")
        source = folder
        if place == "tar":
            source = tmp_path / "pictures.tar"
            with tarfile.open(source, "w") as archive:
                archive.add(folder, "pictures")
        elif "zip" in place:
            method = zipfile.ZIP_DEFLATED if "packed" in place else zipfile.ZIP_STORED
            source = tmp_path / "pictures.zip"
            with zipfile.ZipFile(source, "w", method) as archive:
                for path in sorted(folder.iterdir()):
                    archive.write(path, path.name)
        with pytest.warns(UserWarning, match="passed over 2 of .*phone.HEIC.*photo'"):
            pictures = Pictures(source, 32)
        assert len(pictures) == len(self.KINDS)
        assert not [name for n in range(9) for name in pictures[n][1]]

    def test_nothing_but_what_is_passed_over(self, tmp_path):
        (tmp_path / "phone.heic").write_bytes(b"")
        with refused("no picture below", "passed over 1 of", "phone.heic"):
            Pictures(tmp_path)
        with zipfile.ZipFile(tmp_path / "phones.zip", "w") as archive:
            archive.writestr("phone.heic", b"")
        with refused("no picture in", "phones.zip/phone.heic"):
            Pictures(tmp_path / "phones.zip")

    def test_frames_and_profiles_of_training_pictures(self, folder):
        """An animation is broken for the purpose; colours become sRGB."""
        from test_profiles import SWAPPED, gamma, rgb_profile

        plain = crops(Pictures(folder, 32), range(8))
        for path in folder.rglob("*.png"):
            colors = Image.open(path).convert("RGB")
            swapped = Image.merge("RGB", [colors.split()[i] for i in (1, 0, 2)])
            swapped.save(path, icc_profile=rgb_profile(SWAPPED, gamma(2.2)))
        given = crops(Pictures(folder, 32), range(8))
        assert (given - plain).abs().max() < 0.06  # 2.2 is nearly sRGB's curve
        still = Image.fromarray(ramp(40, 40))
        still.save(
            folder / "moving.webp", save_all=True, append_images=[still.rotate(180)]
        )
        broken = {name for n in range(9) for name in Pictures(folder, 32)[n][1]}
        assert len(broken) == 1
        assert broken.pop().startswith("moving.webp has 2 frames")

    def test_a_missing_source(self, tmp_path):
        with refused("nowhere", "does not exist"):
            Pictures(tmp_path / "nowhere")

    def test_a_folder_without_pictures(self, tmp_path):
        (tmp_path / "notes.txt").write_text("no picture")
        with refused("no picture below", str(tmp_path), ".jpg"):
            Pictures(tmp_path)

    def test_a_missing_shard_is_named(self, folder, tmp_path):
        pack(folder, tmp_path, 2)
        with refused("shard-002.tar", "does not exist"):
            Pictures(tmp_path / "shard-{000..004}.tar")

    def test_a_tar_without_pictures(self, tmp_path):
        (tmp_path / "notes.txt").write_text("no picture")
        with tarfile.open(tmp_path / "notes.tar", "w") as archive:
            archive.add(tmp_path / "notes.txt", "notes.txt")
        with refused("no picture in", "notes.tar"):
            Pictures(tmp_path / "notes.tar")

    @pytest.mark.parametrize(
        "place", ["in a picture", "in a header", "between two members"]
    )
    def test_a_tar_cut_off(self, folder, tmp_path, place):
        pack(folder, tmp_path, 1)
        shard = tmp_path / "shard-000.tar"
        with tarfile.open(shard) as archive:
            last = [member for member in archive if member.name.endswith("07.png")][-1]
        end = {
            "in a picture": last.offset_data + 9,
            "in a header": last.offset + 9,
        }.get(place, last.offset)
        shard.write_bytes(shard.read_bytes()[:end])
        with refused("shard-000.tar", "whole"):
            Pictures(shard, 32)

    def test_a_compressed_tar_and_a_picture_given_for_one(self, folder, tmp_path):
        with tarfile.open(tmp_path / "zipped.tar", "w:gz") as archive:
            archive.add(folder, "pictures")
        with refused("zipped.tar", "uncompressed"):
            Pictures(tmp_path / "zipped.tar")
        with refused("01.png", "no folder of pictures", "give a folder"):
            Pictures(folder / "a" / "01.png")
        with refused("''", "an empty name"):  # as of a variable that is not set
            Pictures("")

    def test_folders_that_may_not_be_read_are_named(self, folder, monkeypatch):
        """Root may read every one, so the system is asked in its place."""
        scan, closed = os.scandir, folder / "a"

        def scandir(place="."):
            if Path(place) == closed:
                raise PermissionError(13, "Permission denied", str(place))
            return scan(place)

        whole = len(Pictures(folder, 16))
        monkeypatch.setattr(os, "scandir", scandir)
        with pytest.warns(UserWarning, match="may not be read: 'a'; change"):
            assert 0 < len(Pictures(folder, 16)) < whole
        closed = folder
        with refused(str(folder), "may not be read"):
            Pictures(folder, 16)

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_a_zip_gives_the_crops_of_the_folder(self, folder, tmp_path, method):
        path = zipped(folder, tmp_path / "pictures.zip", method)
        expected = crops(Pictures(folder, 32), range(20))
        assert torch.equal(crops(Pictures(path, 32), range(20)), expected)
        (tmp_path / "zips").mkdir()
        zipped(folder, tmp_path / "zips" / "a.zip", method)
        assert torch.equal(crops(Pictures(tmp_path / "zips", 32), range(20)), expected)

    def test_a_zip_that_cannot_be_read(self, folder, tmp_path):
        whole = zipped(
            folder, tmp_path / "whole.zip", zipfile.ZIP_DEFLATED
        ).read_bytes()
        cut = tmp_path / "cut.zip"
        cut.write_bytes(whole[:-30])
        with refused("cut.zip", "not a whole", "again"):
            Pictures(cut, 32)
        with refused("rare.zip", "packed in a rare way"):
            Pictures(zipped(folder, tmp_path / "rare.zip", zipfile.ZIP_BZIP2), 32)
        with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
            archive.writestr("notes.txt", "no picture")
        with refused("no picture in", "notes.zip"):
            Pictures(tmp_path / "notes.zip", 32)

    def test_a_damaged_picture_of_a_zip_is_named(self, folder, tmp_path):
        path = zipped(folder, tmp_path / "pictures.zip", zipfile.ZIP_DEFLATED)
        with zipfile.ZipFile(path) as archive:
            member = archive.infolist()[0]
        data = bytearray(path.read_bytes())
        start = member.header_offset + 30 + len(member.filename)
        data[start : start + 8] = b"\xff" * 8
        path.write_bytes(bytes(data))
        broken = {name for n in range(8) for name in Pictures(path, 32)[n][1]}
        assert len(broken) == 1
        assert f"pictures.zip/{member.filename}" in broken.pop()

    @pytest.mark.parametrize(
        ("given", "word"),
        [
            ({"size": 0}, "size"),
            ({"seed": -1}, "seed"),
            ({"zoom": (0.5, 1)}, "zoom"),
            ({"zoom": (2, 1)}, "zoom"),
        ],
    )
    def test_numbers_out_of_range(self, folder, given, word):
        with refused(word):
            Pictures(folder, **{"size": 32, **given})


class TestBroken:
    @pytest.fixture
    def damaged(self, folder):
        """Eight good pictures, and one of each kind that is not."""
        whole = (folder / "a" / "01.png").read_bytes()
        (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
        (folder / "empty.jpg").write_bytes(b"")
        (folder / "text (1).jpg").write_text("no picture")
        Image.fromarray(ramp(20, 90)).save(folder / "small.png")
        return folder

    def test_broken_pictures_are_skipped_and_named_with_what_is_wrong(self, damaged):
        pictures = Pictures(damaged, 32)
        assert len(pictures) == 12
        seen = [pictures[n] for n in range(12)]
        named = {name for _, names in seen for name in names}
        assert {name.split(" is ")[0] for name in named} == {
            "cut.png",
            "empty.jpg",
            "text (1).jpg",
            "small.png",
        }
        assert "small.png is smaller than the crop (90x20)" in named
        assert "text (1).jpg is not a picture that can be read" in named
        assert any(
            name.startswith("cut.png is truncated or damaged (") for name in named
        )
        assert {which(crop) for crop, _ in seen} == set(range(8))

    def test_the_next_of_the_order_takes_the_place(self, damaged):
        pictures = Pictures(damaged, 32)
        seen = [pictures[n] for n in range(12)]
        places = [n for n, (_, names) in enumerate(seen) if names]
        assert len(places) == 4
        for n in places:
            assert which(seen[n][0]) == which(seen[(n + len(seen[n][1])) % 12][0])

    def test_all_too_small(self, folder):
        with refused("64x64", "60x40", "smaller crop"):
            Pictures(folder, 64)

    def test_nothing_readable(self, tmp_path):
        for name in ("a.jpg", "b.png"):
            (tmp_path / name).write_text("no picture")
        with refused("none of the 2 pictures", "a.jpg is not a picture"):
            Pictures(tmp_path, 32)

    def test_one_large_enough_will_do(self, damaged):
        Image.fromarray(ramp(200, 200)).save(damaged / "zz.png")
        crop, broken = Pictures(damaged, 128)[0]
        assert crop.shape == (3, 128, 128)
        assert all(
            "smaller" in name or "is not" in name or "truncated" in name
            for name in broken
        )

    def test_pictures_that_vanish(self, folder):
        pictures = Pictures(folder, 32)
        for path in folder.rglob("*.png"):
            path.unlink()
        with refused("8 pictures in a row", "No such file"):
            pictures[0]

    def test_counted_and_the_run_stopped_when_too_many(self):
        broken = BrokenPictures(0.1)
        assert broken.summary() == ""
        broken.add(4, [])
        broken.add(4, ["a.jpg is bad", "b.jpg is bad"])
        assert broken.summary() == (
            "2 of the 10 pictures looked at could not be used: a.jpg "
            "is bad, b.jpg is bad"
        )
        for i in range(8):  # up to 10 of the first hundred
            broken.add(4, [f"c{i}.jpg is bad"])
        with refused("11 of the 55", "a.jpg", "and 8 more", "max_broken", "0.1"):
            broken.add(4, ["d.jpg is bad"])

    def test_a_share_below_the_limit_never_stops(self):
        broken = BrokenPictures(0.05)
        for _ in range(1000):
            broken.add(24, ["same.jpg is bad"])
        assert broken.summary().startswith("1,000 of the 25,000")
        assert len(broken.names) == 1

    def test_no_broken_picture_at_all_may_be_asked_for(self):
        with refused("1 of the 5"):
            BrokenPictures(0).add(4, ["a.jpg is bad"])
