"""A day with a GPU in small: packed pictures, jobs side by side, stages that go on,
results within their limits.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from helpers import picture

from benchmarks import gpu_day
from pltutorial import write_image
from pltutorial.networks import load_network

ROOT = Path(__file__).parents[1]
TINY = {"factor": 4, "size": 32, "batch_size": 1, "blocks": 1, "width": 4}
TINY |= {"log_every": 1, "workers": 0, "sample_every": 0, "checkpoint_every": 0}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        write_image(tmp_path / f"photos/{number}.png", picture(48, 64, seed=number))
    return tmp_path


def test_pictures_fit_into_what_was_asked_for(folder):
    target = folder / "pictures.tar"
    gpu_day.pack(folder / "photos", target, 0.02, side=40)
    assert target.stat().st_size <= 20_000
    with tarfile.open(target) as archive:
        assert [member.name for member in archive] == ["0.webp", "1.webp", "2.webp"]


def test_too_small_a_space_is_one_sentence(folder):
    with pytest.raises(SystemExit, match="3 pictures do not fit into 0.001 MB"):
        gpu_day.pack(folder / "photos", folder / "pictures.tar", 0.001)


def test_one_command_trains_and_gathers(folder):
    """Two slots; in the first a second stage goes on from the
    first one's checkpoint.
    """
    slots = [
        [
            {
                "name": "a",
                "task": "upscale",
                "share": 1,
                "settings": TINY | {"steps": 2},
            },
            {
                "name": "a",
                "task": "upscale",
                "share": 1,
                "settings": TINY | {"steps": 3, "learning_rate": 1e-4},
            },
        ],
        [{"name": "b", "task": "denoise", "share": 1, "settings": _denoiser(2)}],
    ]
    (folder / "jobs.yaml").write_text(yaml.safe_dump({"slots": slots}))
    out = folder / "out"
    done = subprocess.run(
        [
            "bash",
            "benchmarks/gpu_day.sh",
            folder / "photos",
            out,
            folder / "jobs.yaml",
            "3",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        env=os.environ | {"TESTS": "0", "PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr
    files = sorted(out.iterdir())
    assert len(files) <= 8
    assert all(file.stat().st_size <= 16 << 20 for file in files)
    with tarfile.open(out / "networks1.tar") as archive:
        archive.extractall(folder / "found", filter="data")
    steps = (folder / "found/a/log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in steps] == ["step", "1", "2", "3"]
    for name, count in (("a", 3), ("b", 2)):
        network = load_network(folder / f"found/{name}/network.safetensors", "cpu")
        assert network.card["steps"] == count


def _denoiser(steps: int) -> dict:
    return {name: value for name, value in TINY.items() if name != "factor"} | {
        "steps": steps
    }


def test_the_jobs_that_are_shipped_can_be_read():
    from pltutorial import tasks

    names = []
    for slot in gpu_day.read_jobs(ROOT / "benchmarks/gpu_day.yaml"):
        for job in slot:
            settings = dict(job["settings"])
            assert settings.pop("data_note")
            kind = tasks.find(job["task"]).settings
            lists = {n: tuple(v) for n, v in settings.items() if isinstance(v, list)}
            kind(**settings | lists)  # refuses what makes no sense
            names.append(job["name"])
    assert "eight_styles_full" in names
