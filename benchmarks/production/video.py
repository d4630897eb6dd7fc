"""Flicker of prints, with motion that is known: a window that pans over a photograph
by whole pixels, with or without noise of its own in each frame, as a camera has it.

Where each point lay one frame before is known, so the flow is exact and no estimator
has a say. Measured along it, as the root of `warp_error` on the 0-255 scale: of the
clip; of its prints frame by frame; smoothed as `stylize --temporal-smoothing` does;
smoothed along the flow, which only a program has that knows it; and, for a control, of
prints that are blurred, because a blur flickers less, too. Beside it how sharp the
frames are, and how far (PSNR) from the plain prints.
"""

from __future__ import annotations

import torch
from torch import nn

from pltutorial import bundled, read_image, stylize, zoo
from pltutorial.degradations import add_noise, blur_with, defocus_kernel
from pltutorial.distances import warp_error
from pltutorial.metrics import psnr, sharpness
from pltutorial.video import temporal_smoothing

PHOTOS = ("test/sail", "test/monarch", "content/pagoda")
STYLES = ("great_wave", "poppies")
FRAMES, SIDE, LONG = 8, 160, 256
AMOUNT, RADIUS = 0.8, 1.5
# pixels to the right in a frame (on a tripod, slowly, by the network's stride), sigma
CLIPS = ((0, 4.0), (1, 4.0), (4, 4.0), (1, 0.0), (4, 0.0))
ARMS = ("plain", "smoothed", "along_flow", "blurred")


def measured() -> dict:
    networks = {style: zoo.load_style(style, "cpu") for style in STYLES}
    rows = []
    for number, photo in enumerate(PHOTOS):
        for step, sigma in CLIPS:
            frames = clip(photo, step, sigma, seed=number)
            known = {"photo": photo, "step": step, "sigma": sigma}
            for style, network in networks.items():
                found = prints(frames, step, style, network)
                rows.append({**known, "style": style, **found})
    return {
        "frames": FRAMES,
        "side": SIDE,
        "amount": AMOUNT,
        "unit": "root of the mean warp error along the exact flow, of 255",
        "rows": rows,
        "means": [{"step": s, "sigma": n, **means(rows, s, n)} for s, n in CLIPS],
    }


def clip(photo: str, step: int, sigma: float, seed: int) -> torch.Tensor:
    """Frames (T, 3, H, W) of a window that moves to the right."""
    image = read_image(bundled(photo), LONG)
    top = (image.shape[-2] - SIDE) // 2
    lefts = [step * number for number in range(FRAMES)]
    frames = torch.cat(
        [image[..., top : top + SIDE, left : left + SIDE] for left in lefts]
    )
    if not sigma:
        return frames
    draws = [torch.Generator().manual_seed(100 * seed + n) for n in range(FRAMES)]
    return add_noise(frames, sigma, draws).clamp(0, 1)


def prints(frames: torch.Tensor, step: int, style: str, network: nn.Module) -> dict:
    """Flicker of the clip and of its prints, in all arms."""
    name = style if network.style_names else None
    plain = torch.cat(
        [stylize(frame, name, network=network) for frame in frames.split(1)]
    )
    smooth = temporal_smoothing(AMOUNT)
    pairs = zip(frames.split(1), plain.split(1), strict=True)
    made = {
        "plain": plain,
        "smoothed": torch.cat([smooth(one, other) for one, other in pairs]),
        "along_flow": along_flow(plain, step),
        "blurred": blurred(plain),
    }
    return {
        "clip": flicker(frames, step),
        "clip_blurred": flicker(blurred(frames), step),
        **{
            arm: {
                "flicker": flicker(video, step),
                "sharpness": round(float(sharpness(video[-1:])), 4),
                "psnr_to_plain": None
                if video is plain
                else round(float(psnr(video[-1:], plain[-1:])), 1),
            }
            for arm, video in made.items()
        },
    }


def along_flow(plain: torch.Tensor, step: int) -> torch.Tensor:
    """Each print mixed with the one before, moved to where its points are now; what
    comes into view is taken as it is.
    """
    made = [plain[:1]]
    for frame in plain[1:].split(1):
        kept = frame.shape[-1] - step
        moved = torch.cat([made[-1][..., step:], frame[..., kept:]], -1)
        made.append(torch.lerp(frame, moved, AMOUNT))
    return torch.cat(made)


def blurred(frames: torch.Tensor) -> torch.Tensor:
    kernel = defocus_kernel(RADIUS)
    return blur_with(frames, kernel[None].expand(len(frames), -1, -1)).clamp(0, 1)


def flicker(frames: torch.Tensor, step: int) -> float:
    """Root of the mean warp error along the flow, of 255."""
    count, _, height, width = frames.shape
    flow = torch.zeros(count - 1, 2, height, width)
    flow[:, 0] = step
    return round(255 * float(warp_error(frames, flow).mean().sqrt()), 2)


def means(rows: list[dict], step: int, sigma: float) -> dict:
    """Of one kind of clip over photographs and styles; and in how many of them
    smoothing lowers the flicker by a tenth at least.
    """
    these = [row for row in rows if (row["step"], row["sigma"]) == (step, sigma)]

    def mean(values: list[float], digits: int = 2) -> float:
        return round(sum(values) / len(values), digits)

    return {
        "clip": mean([row["clip"] for row in these]),
        "clip_blurred": mean([row["clip_blurred"] for row in these]),
        **{
            arm: {
                "flicker": mean([row[arm]["flicker"] for row in these]),
                "sharpness": mean([row[arm]["sharpness"] for row in these], 4),
            }
            for arm in ARMS
        },
        "smoothing_helps": sum(
            row["smoothed"]["flicker"] < 0.9 * row["plain"]["flicker"] for row in these
        ),
        "of": len(these),
    }
