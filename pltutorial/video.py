"""Moving pictures: GIFs and videos frame by frame through any function of an image, and
less flicker between frames.

GIFs are read and written by Pillow, videos by PyAV, which is installed on its own:
``pip install "pltutorial[video]"``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm.auto import tqdm

from .errors import InputError
from .files import check_output, no_file, utf8_name, write_whole
from .formats import count_frames, identify
from .images import MAX_PIXELS, check_form, resize, to_image, to_picture

Transform = Callable[[torch.Tensor], torch.Tensor]

FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
VIDEO_ENDINGS = tuple(FORMATS)
# The first of these that the installed PyAV has; a constant quality that cannot be told
# from the frames by eye.
_ENCODERS = {
    "libx264": {"crf": "18", "preset": "medium"},
    "libopenh264": {},
    "mpeg4": {"qscale": "3"},
}
_WEBM_ENCODERS = {
    "libvpx-vp9": {"crf": "28", "b": "0", "row-mt": "1"},
    "libvpx": {"crf": "10", "b": "4M"},
}

_PYAV = 17
_UNSPECIFIED, _BT709, _LIMITED = 2, 1, 1  # numbers of H.273: the colours of a video

# A pixel is still where the mean change of its surroundings is below _SHIFT
# (noise cancels in a mean) and their mean absolute change below _CHANGE (a fine texture
# that moves cancels in a mean, too, but not there).
_SHIFT, _CHANGE = 0.04, 0.12
# pixels: the surroundings, and how far a change in the input shows in the output
_WINDOW, _REACH = 7, 13


@dataclass(frozen=True)
class Clip:
    """What was written: the number of frames, and their width and height in pixels."""

    frames: int
    width: int
    height: int


def temporal_smoothing(
    amount: float,
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A function of each frame's input and output, called in order, that returns an
    output with less flicker.

    A style network turns noise in the input that nobody sees into strokes that come and
    go. The result is an exponential moving average of the *outputs*, y_t = (1 - w)
    s_t + w y_(t-1), whose share w at each pixel is ``amount`` where the *input* did not
    change from the frame before, and falls to 0 where it did. So what is still stops to
    flicker, while what moves is drawn afresh and leaves no ghost behind; after a cut
    nothing of the scene before remains. The change is measured over a few pixels
    around, so that noise does not count.

    Args:
        amount: from 0, no smoothing, to below 1; on a still picture with noise it
            leaves about sqrt((1 - amount) / (1 + amount)) of the noise.

    Raises:
        InputError: an amount outside [0, 1).

    Taught in chapter 5.
    """
    if not 0 <= amount < 1:
        raise InputError(
            f"temporal_smoothing={amount} was given; give a number from 0 (none) to "
            "below 1, such as 0.8"
        )
    before: tuple[torch.Tensor, torch.Tensor] | None = None

    def smooth(source: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        nonlocal before
        check_form(source, "the frame")
        check_form(output, "the frame's output")
        shapes = source.shape, output.shape
        if amount and before is not None and shapes == tuple(x.shape for x in before):
            stillness = _stillness(source, before[0]).to(output)
            output = torch.lerp(output, before[1].to(output), amount * stillness)
        before = source, output
        return output

    return smooth


def _stillness(source: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W): 1 where two frames show the same, 0 where something moved."""

    def around(x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x, _WINDOW, 1, _WINDOW // 2, count_include_pad=False)

    change = source - before
    moved = (around(change) / _SHIFT).square() + (
        around(change.abs()) / _CHANGE
    ).square()
    moved = F.max_pool2d(moved.amax(1, keepdim=True), _REACH, 1, _REACH // 2)
    # flat at first, so that noise does not count, then steep
    return torch.exp(-moved.square())


# --- GIF ------------------------------------------------------------------------------


def stylize_gif(
    source: str | os.PathLike,
    target: str | os.PathLike,
    transform: Transform,
    *,
    size: int | None = None,
    smoothing: float = 0.0,
    max_pixels: int = MAX_PIXELS,
    progress: bool = True,
) -> Clip:
    """Put every frame of a GIF, or of an animated WebP, PNG or AVIF, through a
    function; durations, loop and transparency stay as they are.

    All frames share one palette made of all of them, without dithering, so that colours
    do not flicker either.

    Args:
        source: a GIF or another animation, whatever its ending.
        target: a path that ends in ``.gif``; written whole or not at all.
        transform: an image (1, 3, H, W) in [0, 1] to an image of the same size.
        size: longer side in pixels; None keeps the GIF's.
        smoothing: see :func:`temporal_smoothing`.
        max_pixels: the limit against decompression bombs, for all frames
            together 100 times that.
        progress: show a progress bar.

    Raises:
        InputError: the file is missing, damaged or no picture, or the target
            cannot be written.
    """
    target = check_output(target, (source,), (".gif",))
    smooth = temporal_smoothing(smoothing)
    pictures: list[Image.Image] = []
    masks: list[Image.Image | None] = []
    durations: list[int] = []
    loop: list[int] = []
    for picture in _bar(
        _gif_frames(Path(source), max_pixels, durations, loop), progress
    ):
        frame = to_image(picture, source)
        frame = frame if size is None else resize(frame, size)
        pictures.append(to_picture(smooth(frame, transform(frame))))
        alpha = picture.getchannel("A")
        opaque = alpha.getextrema()[0] >= 128
        masks.append(None if opaque else alpha.resize(pictures[-1].size))
    frames = _with_one_palette(pictures, masks)
    options = {"loop": loop[0]} if loop else {}
    if any(masks):
        options |= {"transparency": 255, "disposal": 2}
    first, *rest = frames
    write_whole(
        target,
        lambda file: first.save(
            file,
            format="GIF",
            save_all=True,
            append_images=rest,
            duration=durations,
            optimize=False,
            **options,
        ),
    )
    return Clip(len(frames), *first.size)


def _gif_frames(
    path: Path, max_pixels: int, durations: list[int], loop: list[int]
) -> Iterator[Image.Image]:
    """Each frame as RGBA; durations in ms and the loop count are put into the lists."""
    if fault := no_file(path):
        raise InputError(f"the picture {str(path)!r} {fault}; give the path of a GIF")
    try:
        with path.open("rb") as file, identify(file) as picture:
            count = count_frames(picture)
            pixels = picture.width * picture.height
            if pixels > max_pixels or count * pixels > 100 * max_pixels:
                raise InputError(
                    f"the picture {str(path)!r} has {count} frames of "
                    f"{pixels:,} pixels and the limit is {max_pixels:,} for one "
                    "and 100 times that for all; shrink it, or raise max_pixels "
                    "if you trust the file"
                )
            if "loop" in picture.info:
                loop.append(picture.info["loop"])
            for number in range(count):
                picture.seek(number)
                picture.load()  # WebP and AVIF know a frame's time only then
                durations.append(int(picture.info.get("duration", 0)))
                yield picture.convert("RGBA")
    except (InputError, GeneratorExit):
        raise
    except Exception as problem:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        reason = str(problem).rstrip(".") or type(problem).__name__
        raise InputError(
            f"the picture {str(path)!r} is no GIF, or damaged after {len(durations)} "
            f"frames ({reason}); copy or download it again"
        ) from None


def _with_one_palette(
    pictures: list[Image.Image], masks: list[Image.Image | None]
) -> list[Image.Image]:
    """RGB frames as palette frames with one palette; where a mask is below 128, index
    255 is kept for transparent.
    """
    step = max(
        1, sum(picture.width * picture.height for picture in pictures) // 1_000_000
    )
    samples = [numpy.asarray(picture).reshape(-1, 3)[::step] for picture in pictures]
    strip = Image.fromarray(numpy.concatenate(samples)[None])
    palette = strip.quantize(
        255 if any(masks) else 256, method=Image.Quantize.MEDIANCUT
    )
    frames = []
    for picture, mask in zip(pictures, masks, strict=True):
        frame = picture.quantize(palette=palette, dither=Image.Dither.NONE)
        if mask is not None:
            frame.paste(255, mask=mask.point(lambda value: 255 if value < 128 else 0))
        frames.append(frame)
    return frames


def _bar(items: Iterator, progress: bool, total: int | None = None) -> Iterator:
    """The items, behind a progress bar on standard error."""
    silent = not progress or bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(items, disable=silent, total=total, unit="frame", leave=False)


# --- video ----------------------------------------------------------------------------


def stylize_video(
    source: str | os.PathLike,
    target: str | os.PathLike,
    transform: Transform,
    *,
    size: int | None = None,
    smoothing: float = 0.0,
    max_pixels: int = MAX_PIXELS,
    progress: bool = True,
) -> Clip:
    """Put every frame of a video through a function; times of the frames stay, sound
    is copied as it is.

    Only one frame is in memory at a time. Videos that a telephone stores on their side
    are turned upright. Pictures are written as H.264 (VP9 for ``.webm``) with BT.709
    colours; subtitles and further video streams are left out. Both sides are cut to
    even numbers of pixels, which these encoders need.

    Args:
        source: a video, or an animated GIF.
        target: a path that ends in one of :data:`VIDEO_ENDINGS`; written
            whole or not at all.
        transform: an image (1, 3, H, W) in [0, 1] to an image of the same size.
        size: longer side in pixels; None keeps the video's.
        smoothing: see :func:`temporal_smoothing`.
        max_pixels: the limit for one frame.
        progress: show a progress bar.

    Raises:
        InputError: PyAV is not installed, the file is missing, damaged or no video, or
            the target cannot be written.
    """
    av = _pyav()
    target = check_output(target, (source,), VIDEO_ENDINGS)
    smooth = temporal_smoothing(smoothing)
    count, shape = 0, (0, 0)

    def fill(file: BinaryIO) -> None:
        nonlocal count, shape
        with (
            _opened(av, Path(source)) as given,
            av.open(file, "w", format=FORMATS[target.suffix.lower()]) as made,
        ):
            video = given.streams.video[0]
            sounds = {
                sound.index: _copied(av, made, sound, target)
                for sound in given.streams.audio
            }
            # sound that comes before the first frame has to wait for it
            stream, early, last = None, [], None
            contents = _bar(
                _contents(av, given, source), progress, video.frames or None
            )
            for item in contents:
                if isinstance(item, av.Packet):
                    item.stream = sounds[item.stream.index]
                    early.append(item)
                else:
                    image = _frame_image(item, source, max_pixels)
                    image = image if size is None else resize(image, size)
                    image = image[
                        ..., : image.shape[-2] // 2 * 2, : image.shape[-1] // 2 * 2
                    ]
                    if stream is None:
                        shape = tuple(image.shape[-2:])
                        stream = _video_stream(
                            av, made, video, target, shape, item.rotation % 180 == 90
                        )
                    # a stream may change its size on the way
                    image = resize(image, shape)
                    output = smooth(image, transform(image))
                    frame = av.VideoFrame.from_image(to_picture(output))
                    frame = frame.reformat(
                        format="yuv420p",
                        dst_colorspace="ITU709",
                        dst_color_range="MPEG",
                    )
                    last = _when(item, video, last)
                    frame.pts, frame.time_base = last, video.time_base
                    made.mux(stream.encode(frame))
                    count += 1
                if stream is not None:
                    made.mux(early)
                    early = []
            if stream is None:
                raise InputError(
                    f"the video {str(source)!r} holds no frame; copy "
                    "or download it again"
                )
            made.mux(stream.encode(None))

    try:
        write_whole(target, fill)
    except av.error.FFmpegError as problem:
        # what is wrong with the source has been caught where it is read
        # an error of the file that PyAV writes to
        cause = problem.__cause__ or problem.__context__
        reason = getattr(cause, "strerror", None) or problem.strerror
        raise InputError(
            f"the video {str(target)!r} could not be written ({reason}); free space, "
            "or choose another place or ending"
        ) from None
    return Clip(count, shape[1], shape[0])


def _pyav():
    try:
        import av
    except ImportError:
        raise InputError(
            "videos need PyAV, which is not installed; install it with: pip install "
            "'pltutorial[video]', or give a GIF"
        ) from None
    # older ones read colours and rotations otherwise, or not at all
    if int(av.__version__.partition(".")[0]) < _PYAV:
        raise InputError(
            f"videos need PyAV {_PYAV} or newer and {av.__version__} is installed; "
            "install it with: pip install --upgrade 'pltutorial[video]'"
        )
    return av


def _opened(av, path: Path):
    if fault := no_file(path):
        raise InputError(
            f"the video {str(path)!r} {fault}; give the path of a video file"
        )
    try:
        with utf8_name(path) as place:
            given = av.open(str(place), metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as problem:
        raise InputError(
            f"{str(path)!r} is no video that can be read, or it is damaged "
            f"({problem.strerror}); copy or download it again"
        ) from None
    if not given.streams.video:
        given.close()
        raise InputError(
            f"{str(path)!r} has no pictures in it, only sound; give a video"
        )
    given.streams.video[0].thread_type = "AUTO"
    return given


def _contents(av, given, path: str | os.PathLike) -> Iterator:
    """The frames of the first video stream, and between them the packets of
    sound as they are.
    """
    video = given.streams.video[0]
    count = 0
    try:
        for packet in given.demux(video, *given.streams.audio):
            if packet.stream.index == video.index:
                for frame in packet.decode():
                    yield frame
                    count += 1
            elif packet.dts is not None:
                yield packet
    except av.error.FFmpegError as problem:
        raise InputError(
            f"the video {str(path)!r} is truncated or damaged after {count} frames "
            f"({problem.strerror}); copy or download it again"
        ) from None


def _frame_image(frame, path: str | os.PathLike, max_pixels: int) -> torch.Tensor:
    """A decoded frame as an upright image."""
    if frame.width * frame.height > max_pixels:
        raise InputError(
            f"the video {str(path)!r} has {frame.width * frame.height:,} "
            f"pixels in a frame and the limit is {max_pixels:,}; raise "
            "max_pixels if you trust the file"
        )
    # what is not said is BT.709 in high definition and BT.601 below, as players have it
    unsaid = frame.colorspace == _UNSPECIFIED and frame.height >= 720
    picture = frame.to_image(src_colorspace="ITU709") if unsaid else frame.to_image()
    return torch.rot90(to_image(picture, path), frame.rotation // 90, (2, 3))


def _when(frame, video, last: int | None) -> int:
    """The frame's own time, in the stream's units; one frame after the last where it
    has none or goes back.
    """
    step = round(1 / (_rate(video) * video.time_base))
    if frame.pts is None:
        return 0 if last is None else last + max(1, step)
    return frame.pts if last is None or frame.pts > last else last + 1


def _rate(video) -> Fraction:
    return video.average_rate or video.guessed_rate or Fraction(25)


def _video_stream(av, made, video, target: Path, shape: tuple[int, int], turned: bool):
    """The stream to encode into: the rate, units of time and pixel shape of
    the one that is read.
    """
    encoders = _WEBM_ENCODERS if target.suffix.lower() == ".webm" else _ENCODERS
    name = next((name for name in encoders if name in av.codecs_available), None)
    if name is None:
        raise InputError(
            f"this PyAV has no encoder for {target.suffix}; install it with: pip "
            "install --force-reinstall av, or choose another ending"
        )
    stream = made.add_stream(name, rate=_rate(video), options=encoders[name])
    context = stream.codec_context
    stream.height, stream.width, stream.pix_fmt = *shape, "yuv420p"
    context.time_base = video.time_base
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED
    pixel = video.sample_aspect_ratio
    if pixel:
        context.sample_aspect_ratio = 1 / pixel if turned else pixel
    return stream


def _copied(av, made, sound, target: Path):
    """A stream that takes the packets of another unchanged."""
    try:
        return made.add_stream_from_template(sound)
    except (ValueError, av.error.FFmpegError):
        raise InputError(
            f"sound of the kind {sound.codec_context.name} cannot go into "
            f"{target.suffix}; end the output in .mkv"
        ) from None
