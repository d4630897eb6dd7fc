"""Batches of crops: in order, resumed, in any number of workers."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal

import pytest
import torch
from helpers import picture, refused
from test_datasets import crops, folder

from pltutorial import write_image
from pltutorial.datasets import Pictures, loader

__all__ = ["folder"]  # a fixture


def batches(*given, **options) -> list[tuple[torch.Tensor, list[str]]]:
    return list(loader(*given, **options))


def equal(one: list, two: list) -> bool:
    return len(one) == len(two) and all(
        torch.equal(a, b) and names == others
        for (a, names), (b, others) in zip(one, two, strict=True)
    )


class Deadly(Pictures):
    """Kills the process that asks for number 40."""

    def __getitem__(self, n):
        if n == 40:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(n)


class Threads(torch.utils.data.Dataset):
    """Says with how many threads PyTorch runs where it is read."""

    def __getitem__(self, n):
        return torch.tensor(torch.get_num_threads()), ()


class Faulty(torch.utils.data.Dataset):
    """A programmer's mistake."""

    def __init__(self, mistake: Exception):
        self.mistake = mistake

    def __getitem__(self, n):
        raise self.mistake


class TestLoader:
    def test_batches_are_the_numbers_in_order(self, folder):
        pictures = Pictures(folder, 32)
        images = torch.cat([images for images, _ in batches(pictures, 3, stop=5)])
        assert torch.equal(images, crops(pictures, range(15)))

    def test_workers_change_nothing(self, folder):
        (folder / "bad.jpg").write_text("no picture")
        pictures = Pictures(folder, 32)
        alone = batches(pictures, 3, stop=9)
        assert any(names for _, names in alone)
        assert equal(batches(pictures, 3, stop=9, workers=2), alone)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_resumed_is_the_tail(self, folder, workers):
        pictures = Pictures(folder, 32)
        whole = batches(pictures, 3, stop=10)
        assert equal(batches(pictures, 3, start=4, stop=10, workers=workers), whole[4:])

    def test_two_ranks_with_half_the_batch_are_one(self, folder):
        pictures = Pictures(folder, 32)
        whole = batches(pictures, 4, start=2, stop=6)
        halves = [
            batches(pictures, 2, start=2, stop=6, rank=rank, world=2) for rank in (0, 1)
        ]
        assert equal(
            [(torch.cat([a, b]), []) for (a, _), (b, _) in zip(*halves, strict=True)],
            whole,
        )

    def test_endless_and_closed_when_let_go(self, folder):
        endless = loader(Pictures(folder, 32), 2, workers=1)
        assert len(list(itertools.islice(endless, 30))) == 30
        assert len(multiprocessing.active_children()) == 1
        endless.close()
        assert multiprocessing.active_children() == []

    def test_workers_run_one_thread(self):
        images, _ = next(loader(Threads(), 2, workers=1))
        assert images.tolist() == [1, 1]

    @pytest.mark.parametrize("workers", [0, 1])
    def test_the_global_random_numbers_are_left_alone(self, folder, workers):
        before = torch.get_rng_state()
        batches(Pictures(folder, 32), 2, stop=3, workers=workers)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("ending", [".jpg", ".png"])
    @pytest.mark.parametrize("zoom", [(1.0, 1.0), (1.0, 3.0)])
    def test_a_cache_changes_no_crop(self, tmp_path, monkeypatch, ending, zoom):
        """Nor does a JPEG that is decoded at a half for one crop, and
        whole for another.
        """
        for number in range(3):
            write_image(
                tmp_path / f"{number}{ending}", picture(320 + number, 400, number)
            )
        plain, cached = (
            Pictures(tmp_path, 24, zoom=zoom, cache=cache) for cache in (False, True)
        )
        expected = crops(plain, range(40))
        assert torch.equal(crops(cached, range(40)), expected)
        assert not plain._decoded
        sizes = {
            i: {p.size for (k, _), p in cached._decoded.items() if k == i}
            for i in range(3)
        }
        several = ending == ".jpg" and zoom[1] > 1
        assert {len(found) > 1 for found in sizes.values()} == {several}
        for path in tmp_path.iterdir():
            path.unlink()
        assert torch.equal(crops(cached, range(40)), expected)  # nothing is read again

    def test_no_picture_is_opened_before_it_is_asked_for(self, folder, monkeypatch):
        opened = []
        pictures = Pictures(folder, 32)
        real = pictures._crop
        monkeypatch.setattr(
            pictures, "_crop", lambda i, n: opened.append(n) or real(i, n)
        )
        next(loader(pictures, 2, start=10**6))
        assert opened == [2 * 10**6, 2 * 10**6 + 1]

    def test_on_a_device(self, folder, device):
        pictures = Pictures(folder, 32)
        images, _ = next(loader(pictures, 2, device=device))
        assert images.device.type == device.type
        assert torch.equal(images.cpu(), crops(pictures, range(2)))

    @pytest.mark.parametrize("workers", [0, 2])
    def test_an_error_while_reading_is_one_sentence(self, folder, workers):
        pictures = Pictures(folder, 32)
        for path in folder.rglob("*.png"):
            path.unlink()
        with refused("8 pictures in a row"):
            batches(pictures, 2, stop=3, workers=workers)

    def test_a_worker_killed_is_one_sentence(self, folder):
        with refused("one of 2 processes that read pictures died", "fewer workers"):
            batches(Deadly(folder, 32), 2, stop=40, workers=2)
        assert multiprocessing.active_children() == []

    @pytest.mark.parametrize(
        "mistake", [ZeroDivisionError, RuntimeError, FileNotFoundError]
    )
    @pytest.mark.parametrize("workers", [0, 1])
    def test_any_other_error_stays_what_it_is(self, mistake, workers):
        with pytest.raises(mistake, match="a mistake"):
            batches(Faulty(mistake("a mistake")), 2, stop=3, workers=workers)

    def test_a_death_is_noticed_at_the_next_batch_and_interrupts_nothing(self, folder):
        stream = loader(Pictures(folder, 32), 2, workers=1)
        next(stream)
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGKILL)
        worker.join(10)
        for _ in range(1000):  # where PyTorch's own handler would raise
            torch.ones(3).sum()
        with refused("one of 1 processes"):
            list(stream)

    @pytest.mark.parametrize(
        "given",
        [
            {"batch_size": 0},
            {"workers": -1},
            {"start": -1},
            {"rank": 2, "world": 2},
            {"rank": -1},
        ],
    )
    def test_numbers_out_of_range(self, folder, given):
        with refused(str(next(iter(given)))):
            loader(Pictures(folder, 32), **{"batch_size": 2, **given})
