"""GIFs and videos: what stays as it was, what is refused, and smoothing that stops
flicker without ghosts.
"""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy
import pytest
import torch
from helpers import picture, refused
from PIL import Image, ImageSequence

from pltutorial import InputError, video
from pltutorial.images import resize, to_picture
from pltutorial.networks import FastTransformNet, apply
from pltutorial.video import stylize_gif, stylize_video, temporal_smoothing

QUIET = {"progress": False}


def same(image: torch.Tensor) -> torch.Tensor:
    return image


def negative(image: torch.Tensor) -> torch.Tensor:
    return 1 - image


# --- smoothing ------------------------------------------------------------------------


def still(count: int = 12, noise: float = 0.02) -> list[torch.Tensor]:
    """The same scene in every frame, with fresh noise of a camera in each."""
    generator = torch.Generator().manual_seed(3)
    scene = picture(72, 96)
    return [
        (scene + noise * torch.randn(scene.shape, generator=generator)).clamp(0, 1)
        for _ in range(count)
    ]


def moving(count: int = 12, noise: float = 0.0) -> list[torch.Tensor]:
    """A dark disc that crosses a bright, striped ground, 5 pixels a frame."""
    generator = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.arange(72.0), torch.arange(96.0), indexing="ij")
    ground = torch.stack(
        [0.7 + 0.2 * torch.sin(x / 7), 0.8 + 0 * x, 0.6 + 0.2 * torch.cos(y / 5)]
    )
    frames = []
    for step in range(count):
        disc = torch.sigmoid(14 - torch.hypot(x - 16 - 5 * step, y - 36))
        frame = ground * (1 - disc) + torch.tensor([0.2, 0.1, 0.3]).view(3, 1, 1) * disc
        frames.append(
            (frame + noise * torch.randn(frame.shape, generator=generator)).clamp(0, 1)[
                None
            ]
        )
    return frames


def smoothed(
    frames: list[torch.Tensor], outputs: list[torch.Tensor], amount: float
) -> list[torch.Tensor]:
    smooth = temporal_smoothing(amount)
    return [
        smooth(frame, output) for frame, output in zip(frames, outputs, strict=True)
    ]


def flicker(outputs: list[torch.Tensor]) -> float:
    """Mean absolute change from frame to frame, once the average has settled."""
    pairs = zip(outputs[3:], outputs[4:], strict=False)
    return float(
        torch.stack([(after - before).abs().mean() for before, after in pairs]).mean()
    )


@pytest.fixture(scope="module")
def style() -> FastTransformNet:
    """A network that turns small changes of its input into larger ones of its
    output, as styles do.
    """
    network = FastTransformNet(width=8, blocks=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


@pytest.mark.parametrize("amount", [0.5, 0.8])
def test_smoothing_stops_flicker_where_nothing_moves(style, amount):
    frames = still()
    outputs = [apply(style, frame, precision="float32") for frame in frames]
    before, after = flicker(outputs), flicker(smoothed(frames, outputs, amount))
    assert before > flicker(frames)  # the style makes the noise worse
    # y_t - y_(t-1) = (1 - a) (s_t - y_(t-1)), and the variance of y is (1 - a) /
    # (1 + a) of that of s
    expected = (1 - amount) * math.sqrt(1 + (1 - amount) / (1 + amount)) / math.sqrt(2)
    assert after < 1.25 * expected * before


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_smoothing_leaves_no_ghost_where_something_moved(noise):
    frames = moving(noise=noise)
    plain = moving()
    outputs = smoothed(frames, [negative(frame) for frame in frames], 0.8)
    naive = negative(frames[0])
    worst, worst_naive = 0.0, 0.0
    for clean, output in zip(plain[1:], outputs[1:], strict=True):
        naive = 0.8 * naive + 0.2 * negative(clean)
        worst = max(worst, float((output - negative(clean)).abs().mean(1).max()))
        worst_naive = max(
            worst_naive, float((naive - negative(clean)).abs().mean(1).max())
        )
    assert worst_naive > 0.3  # a plain average draws the disc's trail
    assert worst < 0.02 + 2.5 * noise


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_smoothing_leaves_no_ghost_of_a_style(style, noise):
    frames, clean = moving(noise=noise), moving()
    outputs = [apply(style, frame, precision="float32") for frame in frames]
    results = smoothed(frames, outputs, 0.8)
    naive, ghosts = outputs[0], []
    for number in range(1, len(frames)):
        naive = 0.8 * naive + 0.2 * outputs[number]
        steps = [clean[number] - clean[max(0, number - back)] for back in (1, 2, 3)]
        # where the disc is, and was a moment ago
        trail = torch.stack(steps).abs().amax((0, 2)) > 0.05
        errors = [
            (given - outputs[number]).abs().mean(1)[trail]
            for given in (results[number], naive)
        ]
        ghosts.append([float(error.mean()) for error in errors])
    assert min(trail for _, trail in ghosts) > 0.05
    assert max(ghost for ghost, _ in ghosts) < 0.005


def test_a_texture_that_moves_counts_as_moving():
    # their mean does not change as they move
    stripes = (torch.arange(64) % 4 < 2).float().expand(1, 3, 64, 64)
    frames = [stripes.roll(step, 3) for step in range(6)]
    for output, frame in zip(smoothed(frames, frames, 0.8), frames, strict=True):
        torch.testing.assert_close(output, frame, atol=0.01, rtol=0)


def test_nothing_of_a_scene_is_left_after_a_cut():
    frames = [picture(40, 40, seed) for seed in (1, 1, 2)]
    frames[2] = 1 - frames[1]
    output = smoothed(frames, frames, 0.9)[2]
    assert float((output - frames[2]).abs().mean()) < 0.02


def test_amounts(style):
    frames = still(3)
    for given, kept in zip(smoothed(frames, frames, 0.0), frames, strict=True):
        assert given is kept
    for amount in (-0.1, 1.0, 2.0, float("nan")):
        with refused(f"temporal_smoothing={amount}"):
            temporal_smoothing(amount)
    smooth = temporal_smoothing(0.5)  # frames of another size begin anew
    smooth(frames[0], frames[0])
    small = resize(frames[1], 48)
    assert smooth(small, small) is small


# --- GIF ------------------------------------------------------------------------------


def gif(
    path: Path,
    count: int = 4,
    *,
    loop: int | None = 0,
    transparent: bool = False,
    **more,
) -> Path:
    frames = [to_picture(picture(30, 44, seed)).quantize(64) for seed in range(count)]
    options = {"loop": loop} if loop is not None else {}
    if transparent:
        for number, frame in enumerate(frames):
            frame.paste(64, (number, 0, number + 10, 30))
        options |= {"transparency": 64, "disposal": 2}
    durations = [50 + 30 * number for number in range(count)]
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        optimize=False,
        **options,
        **more,
    )
    return path


def frames_of(path: Path) -> tuple[list[numpy.ndarray], list[int]]:
    with Image.open(path) as opened:
        frames = [
            (numpy.asarray(frame.convert("RGBA")), frame.info["duration"])
            for frame in ImageSequence.Iterator(opened)
        ]
    return [frame for frame, _ in frames], [duration for _, duration in frames]


@pytest.mark.parametrize("loop", [None, 0, 3])
def test_a_gif_keeps_its_frames_durations_and_loop(tmp_path, loop):
    source = gif(tmp_path / "in.gif", loop=loop)
    clip = stylize_gif(source, tmp_path / "out.gif", negative, **QUIET)
    assert (clip.frames, clip.width, clip.height) == (4, 44, 30)
    given, durations = frames_of(source)
    made, kept = frames_of(tmp_path / "out.gif")
    assert kept == durations == [50, 80, 110, 140]
    with Image.open(tmp_path / "out.gif") as opened:
        assert opened.info.get("loop") == loop
    for before, after in zip(given, made, strict=True):
        error = numpy.abs(255 - before[..., :3].astype(float) - after[..., :3])
        assert error.mean() < 8  # 256 colours for all frames


def test_a_gif_keeps_what_is_transparent(tmp_path):
    source = gif(tmp_path / "in.gif", transparent=True)
    stylize_gif(source, tmp_path / "out.gif", negative, **QUIET)
    given, made = frames_of(source)[0], frames_of(tmp_path / "out.gif")[0]
    assert {0, 255} == set(numpy.unique(given[1][..., 3]))
    for before, after in zip(given, made, strict=True):
        assert (before[..., 3] == after[..., 3]).all()


def test_a_gif_shares_one_palette_so_that_still_parts_do_not_flicker(tmp_path):
    frames = [
        Image.fromarray(numpy.full((20, 20, 3), 80, numpy.uint8)) for _ in range(3)
    ]
    for number, frame in enumerate(frames):
        frame.paste((200, 30 * number, 90), (0, 0, 5 + number, 5))
    frames[0].save(
        tmp_path / "in.gif", save_all=True, append_images=frames[1:], duration=40
    )
    stylize_gif(tmp_path / "in.gif", tmp_path / "out.gif", negative, **QUIET)
    made = frames_of(tmp_path / "out.gif")[0]
    assert len(made) == 3
    assert len({tuple(frame[15, 15]) for frame in made}) == 1


def test_a_gif_can_be_resized_and_may_have_one_frame(tmp_path):
    source = gif(tmp_path / "in.gif", 1, loop=None)
    clip = stylize_gif(source, tmp_path / "out.gif", same, size=22, **QUIET)
    assert (clip.frames, clip.width, clip.height) == (1, 22, 15)
    with Image.open(tmp_path / "out.gif") as opened:
        assert opened.size == (22, 15)


def test_smoothing_reaches_the_frames_of_a_gif(tmp_path):
    frames = [to_picture(frame) for frame in still(8)]
    frames[0].save(
        tmp_path / "in.gif", save_all=True, append_images=frames[1:], duration=40
    )
    measured = []
    for amount in (0.0, 0.8):
        stylize_gif(
            tmp_path / "in.gif", tmp_path / "out.gif", same, smoothing=amount, **QUIET
        )
        made = [
            torch.from_numpy(frame.astype(numpy.float32))
            for frame in frames_of(tmp_path / "out.gif")[0]
        ]
        measured.append(flicker(made))
    assert measured[1] < 0.6 * measured[0]


def test_gifs_that_are_refused(tmp_path):
    out = tmp_path / "out.gif"
    source = gif(tmp_path / "in.gif")
    with refused("gone.gif", "does not exist"):
        stylize_gif(tmp_path / "gone.gif", out, same, **QUIET)
    (tmp_path / "text.gif").write_text("no GIF")
    with refused("text.gif", "no GIF"):
        stylize_gif(tmp_path / "text.gif", out, same, **QUIET)
    data = source.read_bytes()
    (tmp_path / "half.gif").write_bytes(data[: len(data) // 2])
    with refused("half.gif", "damaged after"):
        stylize_gif(tmp_path / "half.gif", out, same, **QUIET)
    with refused("1,320 pixels", "max_pixels"):
        stylize_gif(source, out, same, max_pixels=1000, **QUIET)
    with refused("also an input"):
        stylize_gif(source, source, same, **QUIET)
    with refused("ending", ".gif"):
        stylize_gif(source, tmp_path / "out.png", same, **QUIET)
    assert source.read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "half.gif",
        "in.gif",
        "text.gif",
    ]


# --- video ----------------------------------------------------------------------------


def film(
    path: Path,
    frames: list[torch.Tensor] | None = None,
    *,
    times: list[int] | None = None,
    rate: Fraction = Fraction(25),
    sound: bool = True,
    rotation: int = 0,
    pixel: Fraction | None = None,
    codec: str = "libx264",
) -> Path:
    """A short video of moving pictures, with a tone."""
    frames = moving(8) if frames is None else frames
    times = list(range(len(frames))) if times is None else times
    with av.open(str(path), "w") as made:
        options = {"crf": "4"} if codec == "libx264" else {}
        stream = made.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = (
            *frames[0].shape[-2:],
            "yuvj420p" if codec == "mjpeg" else "yuv420p",
        )
        stream.codec_context.time_base = 1 / rate
        if pixel:
            stream.codec_context.sample_aspect_ratio = pixel
        if rotation:
            stream.set_display_rotation(rotation)
        tone = made.add_stream("aac", rate=16000) if sound else None
        for image, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_image(to_picture(image))
            frame.pts, frame.time_base = time, 1 / rate
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
        if tone is not None:
            for part in range(8):
                wave = numpy.sin(
                    numpy.arange(1024) * (0.05 + 0.02 * part), dtype=numpy.float32
                )[None]
                samples = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
                samples.sample_rate, samples.pts = 16000, 1024 * part
                made.mux(tone.encode(samples))
            made.mux(tone.encode(None))
    return path


def seen(path: Path) -> tuple[list[torch.Tensor], list[Fraction]]:
    """The frames of a video as images, and their times in seconds."""
    with av.open(str(path)) as opened:
        frames = list(opened.decode(video=0))
    images = [
        torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)[None] / 255
        for frame in frames
    ]
    return images, [frame.pts * frame.time_base for frame in frames]


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as opened:
        return [bytes(packet) for packet in opened.demux(audio=0) if packet.size]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
def test_a_video_keeps_its_times_and_its_sound(tmp_path, ending):
    source = film(tmp_path / f"in{ending}")
    target = tmp_path / f"out{ending}"
    clip = stylize_video(source, target, negative, **QUIET)
    assert (clip.frames, clip.width, clip.height) == (8, 96, 72)
    given, made = seen(source), seen(target)
    assert made[1] == given[1]
    assert len(sound_of(source)) >= 8
    assert sound_of(target) == sound_of(source)
    for before, after in zip(given[0], made[0], strict=True):
        # the encoder's loss, colours right
        assert float((1 - before - after).abs().mean()) < 0.015
    with av.open(str(source)) as one, av.open(str(target)) as other:
        assert (
            other.streams.video[0].average_rate
            == one.streams.video[0].average_rate
            == 25
        )


def test_rates_that_vary_or_are_no_integers_are_kept(tmp_path):
    times = [0, 1, 2, 5, 6, 9, 10, 11]
    source = film(
        tmp_path / "in.mkv", times=times, rate=Fraction(30000, 1001), sound=False
    )
    stylize_video(source, tmp_path / "out.mkv", same, **QUIET)
    given, made = seen(source)[1], seen(tmp_path / "out.mkv")[1]
    assert len(set(numpy.diff([float(time) for time in given]).round(3))) > 1
    assert [float(time) for time in made] == pytest.approx(
        [float(time) for time in given], abs=1e-3
    )


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_video_stored_on_its_side_is_turned_upright(tmp_path, rotation):
    frames = moving(2)
    source = film(
        tmp_path / "in.mp4",
        frames,
        rotation=rotation,
        sound=False,
        pixel=Fraction(4, 3),
    )
    stylize_video(source, tmp_path / "out.mp4", same, **QUIET)
    upright = torch.rot90(frames[0], rotation // 90, (2, 3))
    made = seen(tmp_path / "out.mp4")[0][0]
    assert made.shape == upright.shape
    assert float((made - upright).abs().mean()) < 0.02
    with av.open(str(tmp_path / "out.mp4")) as opened:
        assert next(opened.decode(video=0)).rotation == 0
        expected = Fraction(4, 3) if rotation == 180 else Fraction(3, 4)
        assert opened.streams.video[0].sample_aspect_ratio == expected


def test_odd_sides_are_cut_to_even_ones_and_size_is_kept_to(tmp_path):
    clip = stylize_video(
        film(tmp_path / "in.mp4"), tmp_path / "out.mp4", same, size=61, **QUIET
    )
    assert (clip.width, clip.height) == (60, 46)
    assert seen(tmp_path / "out.mp4")[0][0].shape == (1, 3, 46, 60)


def test_webm_and_gif_as_a_video(tmp_path):
    source = gif(tmp_path / "in.gif")
    assert stylize_video(source, tmp_path / "out.webm", same, **QUIET).frames == 4
    made, times = seen(tmp_path / "out.webm")
    assert [round(float(time), 2) for time in times] == [0, 0.05, 0.13, 0.24]
    given = (
        torch.from_numpy(frames_of(source)[0][0][..., :3].copy()).permute(2, 0, 1)[None]
        / 255
    )
    assert float((made[0] - given).abs().mean()) < 0.05


def test_smoothing_reaches_the_frames_of_a_video(tmp_path):
    source = film(tmp_path / "in.mp4", still(8), sound=False)
    measured = []
    for amount in (0.0, 0.8):
        stylize_video(source, tmp_path / "out.mp4", same, smoothing=amount, **QUIET)
        measured.append(flicker(seen(tmp_path / "out.mp4")[0]))
    assert measured[1] < 0.6 * measured[0]


def test_videos_that_are_refused(tmp_path, monkeypatch):
    out = tmp_path / "out.mp4"
    source = film(tmp_path / "in.mp4")
    data = source.read_bytes()
    with refused("gone.mp4", "does not exist"):
        stylize_video(tmp_path / "gone.mp4", out, same, **QUIET)
    (tmp_path / "text.mp4").write_text("no video")
    with refused("text.mp4", "no video"):
        stylize_video(tmp_path / "text.mp4", out, same, **QUIET)
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with refused("cut.mp4", "damaged"):
        stylize_video(tmp_path / "cut.mp4", out, same, **QUIET)
    with av.open(str(tmp_path / "tone.mp4"), "w") as made:
        tone = made.add_stream("aac", rate=16000)
        samples = av.AudioFrame.from_ndarray(
            numpy.zeros((1, 1024), numpy.float32), "fltp", "mono"
        )
        samples.sample_rate = 16000
        made.mux(tone.encode(samples))
        made.mux(tone.encode(None))
    with refused("tone.mp4", "only sound"):
        stylize_video(tmp_path / "tone.mp4", out, same, **QUIET)
    with refused("aac", ".webm", ".mkv"):
        stylize_video(source, tmp_path / "out.webm", same, **QUIET)
    with refused("6,912 pixels", "max_pixels"):
        stylize_video(source, out, same, max_pixels=6000, **QUIET)
    with refused("also an input"):
        stylize_video(source, source, same, **QUIET)
    with refused("ending", ".mkv"):
        stylize_video(source, tmp_path / "out.wmv", same, **QUIET)
    monkeypatch.setattr(av, "__version__", "13.1.0")
    with refused("PyAV 17 or newer", "13.1.0"):
        stylize_video(source, out, same, **QUIET)
    monkeypatch.setitem(sys.modules, "av", None)
    with refused("PyAV", "pip install 'pltutorial[video]'"):
        stylize_video(source, out, same, **QUIET)
    assert source.read_bytes() == data
    assert not list(tmp_path.glob("out*"))
    assert not list(tmp_path.glob(".*"))


AGAIN_AND_AGAIN = """
import sys

import av

from pltutorial import InputError
from pltutorial.video import stylize_video

for _ in range(30):
    try:
        stylize_video(sys.argv[1], sys.argv[2], lambda image: image, progress=False)
    except InputError:
        print("refused")
assert av.logging.get_level() is None
"""


def test_a_damaged_video_never_hangs(tmp_path):
    """FFmpeg's threads that log through Python wait for its lock, and closing a
    decoder, which holds it, for them.

    With PyAV's log on, at any level, most runs of some hundred rounds hung on busy
    cores: so it stays off.
    """
    source = film(tmp_path / "in.mp4")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    command = [
        sys.executable,
        "-c",
        AGAIN_AND_AGAIN,
        str(source),
        str(tmp_path / "out.mp4"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["refused"] * 30


def test_damage_in_the_middle_is_named_with_its_place(tmp_path):
    source = film(tmp_path / "in.mkv", moving(30), sound=False, codec="mjpeg")
    data = bytearray(source.read_bytes())
    starts = [
        number
        for number in range(len(data) - 1)
        if data[number : number + 2] == b"\xff\xd8"
    ]
    data[starts[20] + 2 : starts[21] - 40] = bytes(starts[21] - 42 - starts[20])
    source.write_bytes(data)
    with refused("in.mkv", "damaged after 20 frames"):
        stylize_video(source, tmp_path / "out.mkv", same, **QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


@pytest.mark.parametrize(
    "problem",
    [KeyboardInterrupt, RuntimeError("a power cut"), InputError("no; memory")],
)
def test_a_run_that_ends_early_leaves_what_was_there(tmp_path, problem):
    targets = [gif(tmp_path / "old.gif"), film(tmp_path / "old.mp4")]
    before = [target.read_bytes() for target in targets]
    sources = [gif(tmp_path / "in.gif"), film(tmp_path / "in.mp4")]
    files = sorted(tmp_path.iterdir())
    for work, source, target in zip(
        (stylize_gif, stylize_video), sources, targets, strict=True
    ):
        frames = []

        def stop(image, frames=frames):
            frames.append(image)
            if len(frames) == 3:
                raise problem
            return image

        with pytest.raises(
            type(problem) if isinstance(problem, Exception) else problem
        ):
            work(source, target, stop, **QUIET)
    assert [target.read_bytes() for target in targets] == before
    assert sorted(tmp_path.iterdir()) == files


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    source = film(tmp_path / "in.mp4")
    real = video.write_whole

    class Full:
        def __init__(self, file):
            self.file, self.left = file, 1000

        def write(self, data):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(28, "No space left on device")
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    monkeypatch.setattr(
        video,
        "write_whole",
        lambda path, fill: real(path, lambda file: fill(Full(file))),
    )
    with refused("out.mp4", "could not be written", "No space left"):
        stylize_video(source, tmp_path / "out.mp4", same, **QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
