"""COCO from a local server that behaves as servers do: cut connections, no Range, wrong
files; nothing is lost.
"""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
from helpers import assert_sentence, refused
from PIL import Image
from typer.testing import CliRunner

from pltutorial import InputError
from pltutorial.cli.data import app
from pltutorial.training import download

COUNT = 7


def make_zip(count: int = COUNT) -> bytes:
    """A zip like COCO's: a folder of JPEGs, here of 48x40 pixels, and a name that
    tries to leave it.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("tiny/", "")
        for i in reversed(range(count)):
            pixels = numpy.random.default_rng(i).integers(
                0, 255, (40, 48, 3), numpy.uint8
            )
            photo = io.BytesIO()
            Image.fromarray(pixels).save(photo, "JPEG")
            archive.writestr(
                f"{'../..' if i == 3 else 'tiny'}/{i:012}.jpg", photo.getvalue()
            )
        archive.writestr("tiny/readme.txt", "no picture")
    return packed.getvalue()


ZIP = make_zip()
MD5 = hashlib.md5(ZIP).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.body`` as ``server.behaviour`` says."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        act = server.behaviour[min(len(server.asked), len(server.behaviour)) - 1]
        if isinstance(act, int):
            self.send_error(act)
            return
        start = 0
        if asked and act != "no range":
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            start = max(0, start + {"early": -100, "late": 100}.get(act, 0))
            self.send_response(206)
            self.send_header(
                "Content-Range",
                f"bytes {start}-{len(server.body) - 1}/{len(server.body)}",
            )
        else:
            self.send_response(200)
        body = server.body[start:]
        if act != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if act == "cut":
            body = body[: len(body) // 2]
        elif act == "nothing":
            body = b""
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server of the small zip; ``behaviour`` is what it does at each request,
    the last ever after.
    """
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_PAUSES", (0, 0, 0))
    monkeypatch.setattr(download, "_BLOCK", 1000)
    monkeypatch.setitem(download.COCO, "tiny", download.Archive(len(ZIP), MD5, COUNT))
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.body, served.behaviour, served.asked = ZIP, ["well"], []
    served.url = f"http://127.0.0.1:{served.server_port}"
    thread = threading.Thread(
        target=served.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def get(server, target: Path, **changes) -> Path:
    given = {"size": len(ZIP), "md5": MD5, "progress": False, **changes}
    return download.fetch(f"{server.url}/tiny.zip", target, **given)


def coco(server, folder: Path, **options) -> str:
    return download.coco("tiny", folder, url=server.url, progress=False, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestFetch:
    def test_whole(self, server, tmp_path):
        target = get(server, tmp_path / "tiny.zip")
        assert target.read_bytes() == ZIP
        assert names(tmp_path) == ["tiny.zip"]
        assert server.asked == [None]

    @pytest.mark.parametrize("behaviour", ["well", "no range", "no length", "early"])
    @pytest.mark.parametrize("have", [1, 1000, 1234, len(ZIP) - 1])
    def test_goes_on_from_what_is_there(self, server, tmp_path, have, behaviour):
        (tmp_path / "tiny.zip.part").write_bytes(ZIP[:have])
        server.behaviour = [behaviour]
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP
        assert server.asked == [f"bytes={have}-"]
        assert names(tmp_path) == ["tiny.zip"]

    def test_all_there_asks_for_nothing(self, server, tmp_path):
        (tmp_path / "tiny.zip.part").write_bytes(ZIP)
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP
        assert server.asked == []

    def test_cut_again_and_again(self, server, tmp_path):
        """Each connection brings half of what is left: more cuts than there are
        attempts without progress.
        """
        server.behaviour = ["cut"] * 8 + ["well"]
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP
        starts = [0] + [int(asked[6:-1]) for asked in server.asked[1:]]
        assert len(starts) == 9
        assert starts == sorted(set(starts))

    def test_cut_where_range_is_ignored(self, server, tmp_path):
        (tmp_path / "tiny.zip.part").write_bytes(ZIP[:5000])
        server.behaviour = ["nothing", "no range"]
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP

    def test_a_busy_server_is_asked_again(self, server, tmp_path):
        server.behaviour = ["cut", 503, 429, "well"]
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP

    def test_cut_for_good_keeps_what_came(self, server, tmp_path):
        server.behaviour = ["cut", "nothing"]
        with refused(
            "the connection was cut",
            f"{len(ZIP) // 2:,} of {len(ZIP):,} bytes",
            "again",
        ):
            get(server, tmp_path / "tiny.zip")
        assert len(server.asked) == 1 + 3
        assert (tmp_path / "tiny.zip.part").read_bytes() == ZIP[: len(ZIP) // 2]
        server.behaviour = ["well"]
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP

    @pytest.mark.parametrize(
        ("code", "attempts"), [(404, 1), (403, 1), (416, 1), (503, 4)]
    )
    def test_refused_by_the_server(self, server, tmp_path, code, attempts):
        server.behaviour = [code]
        with refused(f"answered {code}", "--url"):
            get(server, tmp_path / "tiny.zip")
        assert len(server.asked) == attempts

    def test_other_bytes_than_asked_for_are_never_written(self, server, tmp_path):
        (tmp_path / "tiny.zip.part").write_bytes(ZIP[:999])
        server.behaviour = ["late"]
        with refused("other bytes than it was asked for"):
            get(server, tmp_path / "tiny.zip")
        assert (tmp_path / "tiny.zip.part").read_bytes() == ZIP[:999]

    def test_more_bytes_than_published_are_left(self, server, tmp_path):
        server.body, server.behaviour = ZIP + b"more", ["no length"]
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP

    def test_no_server_is_said_at_once(self, server, tmp_path, monkeypatch):
        pauses = []
        monkeypatch.setattr(download.time, "sleep", pauses.append)
        with refused("127.0.0.1:9", "refused", "network"):
            download.fetch(
                "http://127.0.0.1:9/tiny.zip",
                tmp_path / "tiny.zip",
                9,
                MD5,
                progress=False,
            )
        assert pauses == []

    def test_a_network_lost_on_the_way_is_waited_for(
        self, server, tmp_path, monkeypatch
    ):
        pauses, calls, real = [], [], download.urllib.request.urlopen

        def urlopen(*given, **options):
            calls.append(given)
            if len(calls) in (2, 3, 5):
                raise download.urllib.error.URLError(
                    OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
                )
            return real(*given, **options)

        monkeypatch.setattr(download, "_PAUSES", (1, 2, 4))
        monkeypatch.setattr(download.time, "sleep", pauses.append)
        monkeypatch.setattr(download.urllib.request, "urlopen", urlopen)
        server.behaviour = ["cut", "cut", "well"]
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP
        assert pauses == [1, 2, 4, 1, 2]

    def test_no_network(self, server, tmp_path):
        (tmp_path / "tiny.zip.part").write_bytes(ZIP[:999])
        with refused("nowhere.invalid", f"999 of {len(ZIP):,}", "again"):
            download.fetch(
                "http://nowhere.invalid/tiny.zip",
                tmp_path / "tiny.zip",
                len(ZIP),
                MD5,
                progress=False,
            )
        assert (tmp_path / "tiny.zip.part").read_bytes() == ZIP[:999]

    def test_a_silent_server(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(download, "_TIMEOUT", 0.2)
        start = time.monotonic()
        with socket.create_server(("127.0.0.1", 0)) as silent, refused("timed out"):
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/tiny.zip"
            download.fetch(url, tmp_path / "t.zip", 9, MD5, progress=False)
        # one attempt of 0.2 s; the shipped limit is 30 s
        assert time.monotonic() - start < 8

    def test_a_wrong_checksum_is_kept_aside_and_the_next_run_starts_anew(
        self, server, tmp_path
    ):
        server.body = ZIP[:-1] + b"?"
        with refused(MD5, hashlib.md5(server.body).hexdigest(), "tiny.zip.wrong"):
            get(server, tmp_path / "tiny.zip")
        assert names(tmp_path) == ["tiny.zip.wrong"]
        server.body = ZIP
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP

    def test_a_resumed_file_is_checked_from_its_first_byte(self, server, tmp_path):
        (tmp_path / "tiny.zip.part").write_bytes(b"?" + ZIP[1:3000])
        with refused(MD5):
            get(server, tmp_path / "tiny.zip")

    @pytest.mark.parametrize("change", [b"", b"a login page " * 9000])
    def test_another_size_is_refused_before_anything_is_written(
        self, server, tmp_path, change
    ):
        (tmp_path / "tiny.zip.part").write_bytes(ZIP[:999])
        server.body = change or ZIP[:5000]
        with refused(f"{len(server.body):,} bytes", f"{len(ZIP):,}"):
            get(server, tmp_path / "tiny.zip")
        assert (tmp_path / "tiny.zip.part").read_bytes() == ZIP[:999]

    def test_files_of_that_name_that_are_something_else(self, server, tmp_path):
        (tmp_path / "tiny.zip").write_bytes(b"mine")
        with refused("has 4 bytes", "move it away"):
            get(server, tmp_path / "tiny.zip")
        (tmp_path / "other.zip.part").write_bytes(ZIP + b"mine")
        with refused("other.zip.part", "remove it"):
            get(server, tmp_path / "other.zip")
        assert (tmp_path / "tiny.zip").read_bytes() == b"mine"

    def test_two_at_once(self, server, tmp_path):
        with download._opened(tmp_path / "tiny.zip.part"), refused("another process"):
            get(server, tmp_path / "tiny.zip")

    def test_too_little_space_is_said_before_the_download(
        self, server, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(
            download.shutil, "disk_usage", lambda _: SimpleNamespace(free=100)
        )
        with refused("GB more are needed", str(tmp_path)):
            get(server, tmp_path / "tiny.zip")
        assert server.asked == []

    def test_the_progress_bar_has_rate_and_remaining_time(
        self, server, tmp_path, capsys, monkeypatch
    ):
        monkeypatch.delenv("TQDM_DISABLE", raising=False)
        get(server, tmp_path / "tiny.zip", progress=True)
        shown = capsys.readouterr().err
        assert "tiny.zip" in shown
        assert re.search(r"B/s", shown)
        assert re.search(r"\d\d:\d\d<(\d\d:\d\d|\?)", shown)
        (tmp_path / "half.zip.part").write_bytes(ZIP[: len(ZIP) // 2])
        get(server, tmp_path / "half.zip", progress=True)
        shown = capsys.readouterr().err
        assert "reading what is there" in shown
        assert re.search(r"half.zip: +(49|50)%", shown)
        get(server, tmp_path / "silent.zip")
        assert capsys.readouterr().err == ""


class Full:
    """A file on a disk that takes so many bytes more, and never
    more than 300 at once.
    """

    def __init__(self, file, room: int):
        self.file, self.room = file, room

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = min(self.room, len(data), 300)
        self.room -= taken
        return self.file.write(data[:taken])


class TestDisk:
    def test_full_in_the_middle(self, server, tmp_path, monkeypatch):
        real = download._opened

        @download.contextmanager
        def opened(part):
            with real(part) as file:
                yield Full(file, 4321)

        monkeypatch.setattr(download, "_opened", opened)
        with refused(
            "the disk is full", "tiny.zip.part", "nothing that is there is lost"
        ):
            get(server, tmp_path / "tiny.zip")
        assert (tmp_path / "tiny.zip.part").read_bytes() == ZIP[:4321]
        monkeypatch.setattr(download, "_opened", real)
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP
        assert server.asked[1:] == ["bytes=4321-"]

    def test_a_disk_that_takes_little_at_once(self, server, tmp_path, monkeypatch):
        real = download._opened

        @download.contextmanager
        def opened(part):
            with real(part) as file:
                yield Full(file, 10**9)

        monkeypatch.setattr(download, "_opened", opened)
        assert get(server, tmp_path / "tiny.zip").read_bytes() == ZIP

    @pytest.mark.skipif(
        not Path("/dev/full").exists(),
        reason="only Linux has a device that is always full",
    )
    def test_a_disk_that_is_really_full(self, server, tmp_path):
        (tmp_path / "tiny.zip.part").symlink_to("/dev/full")
        with refused("the disk is full"):
            get(server, tmp_path / "tiny.zip")

    def test_full_while_unpacking_keeps_the_pictures_written(
        self, server, tmp_path, monkeypatch
    ):
        real, calls = Path.write_bytes, []

        def write(path, data):
            calls.append(path)
            if len(calls) == 4:
                real(path, data[:10])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(path, data)

        monkeypatch.setattr(Path, "write_bytes", write)
        with refused("the disk is full", "tiny"):
            coco(server, tmp_path)
        assert sorted(p.name for p in download._visible(tmp_path / "tiny")) == [
            f"{i:012}.jpg" for i in range(3)
        ]
        monkeypatch.setattr(Path, "write_bytes", real)
        check_pictures(coco(server, tmp_path))
        assert len(server.asked) == 1

    def test_a_place_where_no_folder_can_be(self, server, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with refused("file", "--to"):
            coco(server, tmp_path / "file" / "coco")
        with refused("file", "--to"):
            coco(server, tmp_path / "file")

    def test_a_read_only_folder(self, server, tmp_path, monkeypatch):
        """Root may write anywhere, so the refusal is staged."""

        def denied(*_, **__):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(Path, "open", denied)
        with refused("Permission denied", "--to"):
            coco(server, tmp_path)
        assert server.asked == []

    def test_too_little_space_for_unpacking(self, server, tmp_path, monkeypatch):
        get(server, tmp_path / "tiny.zip")
        monkeypatch.setattr(
            download.shutil, "disk_usage", lambda _: SimpleNamespace(free=9)
        )
        for shards in (False, True):
            with refused("GB more are needed"):
                coco(server, tmp_path, shards=shards)
        assert (tmp_path / "tiny.zip").read_bytes() == ZIP


def check_pictures(folder: str | Path) -> None:
    """All pictures of the zip, byte for byte, and nothing else."""
    found = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    with zipfile.ZipFile(io.BytesIO(ZIP)) as archive:
        members = {
            Path(name).name: archive.read(name)
            for name in archive.namelist()
            if name.endswith(".jpg")
        }
    assert found == members


class TestCoco:
    def test_unpacked_to_a_folder(self, server, tmp_path):
        source = coco(server, tmp_path / "new" / "coco")
        assert source == str(tmp_path / "new" / "coco" / "tiny")
        check_pictures(source)
        assert names(tmp_path / "new" / "coco") == ["tiny", "tiny.zip"]
        assert names(tmp_path) == ["new"]  # the name with ../.. stayed inside

    def test_again_does_nothing_and_a_missing_picture_comes_back(
        self, server, tmp_path
    ):
        source = Path(coco(server, tmp_path, remove_zip=True))
        assert names(tmp_path) == ["tiny"]
        coco(server, tmp_path)
        assert len(server.asked) == 1
        next(source.iterdir()).unlink()
        check_pictures(coco(server, tmp_path))
        assert len(server.asked) == 2

    def test_half_a_picture_is_written_anew(self, server, tmp_path):
        zipped = get(server, tmp_path / "tiny.zip")
        (tmp_path / "tiny").mkdir()
        (tmp_path / "tiny" / f"{2:012}.jpg").write_bytes(b"half")
        assert download.unpack(zipped, tmp_path / "tiny", progress=False) == COUNT
        check_pictures(tmp_path / "tiny")

    def test_shards_are_read_as_the_folder_is(self, server, tmp_path, monkeypatch):
        import torch

        from pltutorial.datasets import Pictures

        monkeypatch.setattr(download, "SHARD", 3)
        shards = coco(server, tmp_path, shards=True)
        assert shards == str(tmp_path / "tiny-{000000..000002}.tar")
        folder = coco(server, tmp_path)
        one, two = Pictures(shards, 32), Pictures(folder, 32)
        assert len(one) == len(two) == COUNT
        assert all(torch.equal(one[n][0], two[n][0]) for n in range(2 * COUNT))

    def test_shards_go_on_and_have_the_same_bytes(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(download, "SHARD", 3)
        coco(server, tmp_path, shards=True, remove_zip=True)
        paths = sorted(tmp_path.glob("*.tar"))
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
        paths[1].unlink()
        (tmp_path / ".sharding").write_bytes(b"left by a run that was killed")
        coco(server, tmp_path, shards=True, remove_zip=True)
        assert sorted(tmp_path.iterdir()) == paths
        assert {path: path.read_bytes() for path in paths} == {
            path: data for path, (data, _) in before.items()
        }
        assert [path.stat().st_mtime_ns == before[path][1] for path in paths] == [
            True,
            False,
            True,
        ]
        coco(server, tmp_path, shards=True)
        assert len(server.asked) == 2

    def test_a_damaged_zip(self, server, tmp_path):
        (tmp_path / "tiny.zip").write_bytes(bytes(len(ZIP)))
        for shards in (False, True):
            with refused("tiny.zip", "damaged", "remove it"):
                coco(server, tmp_path, shards=shards)
        flipped = bytearray(ZIP)
        flipped[len(ZIP) // 2] ^= 255
        (tmp_path / "tiny.zip").write_bytes(flipped)
        with refused("tiny.zip", "damaged", "remove it"):
            coco(server, tmp_path)

    def test_a_damaged_compressed_zip(self, tmp_path):
        with zipfile.ZipFile(
            tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED
        ) as archive:
            archive.writestr("a.jpg", bytes(9000))
        data = bytearray((tmp_path / "packed.zip").read_bytes())
        data[35:45] = b"\xff" * 10
        (tmp_path / "packed.zip").write_bytes(data)
        with refused("packed.zip", "damaged"):
            download.unpack(tmp_path / "packed.zip", tmp_path / "out", progress=False)

    def test_a_zip_with_another_number_of_pictures_makes_no_shards(
        self, server, tmp_path, monkeypatch
    ):
        monkeypatch.setitem(
            download.COCO, "tiny", download.Archive(len(ZIP), MD5, 5000)
        )
        with refused("holds 7 pictures for 5 shards"):
            coco(server, tmp_path, shards=True)
        assert names(tmp_path) == ["tiny.zip"]

    def test_what_cannot_be_meant(self, tmp_path):
        with refused("train2015", "train2017"):
            download.coco("train2015", tmp_path)
        with refused("file:///etc", "http"):
            download.coco("val2017", tmp_path, url="file:///etc")

    def test_the_known_parts(self):
        """As many shards as COCO's pictures need, and checksums of the right form."""
        for name, archive in download.COCO.items():
            assert re.fullmatch("(train|val)201[47]", name)
            assert re.fullmatch("[0-9a-f]{32}", archive.md5)
            assert 100_000 < archive.size / archive.pictures < 200_000


class TestCommand:
    def run(self, *arguments):
        return CliRunner().invoke(app, ["coco", *map(str, arguments)])

    def test_a_whole_run(self, server, tmp_path):
        result = self.run(
            "tiny",
            "--to",
            tmp_path,
            "--url",
            server.url,
            "--no-progress",
            "--remove-zip",
        )
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{tmp_path / 'tiny'}: 7 pictures\n"
        check_pictures(tmp_path / "tiny")

    def test_shards(self, server, tmp_path):
        result = self.run(
            "tiny", "--to", tmp_path, "--url", server.url, "--no-progress", "--shards"
        )
        assert (
            result.stdout == f"{tmp_path / 'tiny-{000000..000000}.tar'}: 7 pictures\n"
        )

    def test_an_error_is_an_input_error(self, tmp_path):
        result = self.run("nothing", "--to", tmp_path)
        assert isinstance(result.exception, InputError)
        assert_sentence(str(result.exception))

    def test_nothing_heavy_is_loaded(self):
        code = (
            "import sys\nfrom pltutorial.cli import data\n"
            "print(sorted({'torch', 'numpy', 'PIL', 'tqdm', 'urllib.request'} & "
            "set(sys.modules)))\n"
            "from pltutorial.training import download\n"
            "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        assert done.stdout == "[]\n[]\n"


@pytest.mark.parametrize("url", ["http://[::1", "ftp://x", "http://", "nothing"])
def test_what_is_no_address(url, tmp_path):
    with refused(repr(url), "http:// or https://"):
        download.coco("val2017", tmp_path / "coco", url=url)
    assert not (tmp_path / "coco").exists()
