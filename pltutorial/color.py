"""Brightness and colour of pictures: BT.601's luma and chroma, NTSC's YIQ, and colours
taken from another picture.
"""

from __future__ import annotations

import torch

from .errors import InputError
from .images import check_form, check_image
from .tensors import check_together

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, full range
# the same from RGB in [0, 1] to 16...235 less 16
LUMA_STUDIO = (65.481, 128.553, 24.966)
# Rows are Y, I, Q (NTSC); Gatys et al. (2017), section 5.2, keep I
# and Q of the content.
YIQ = torch.tensor([[*LUMA], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def luminance(image: torch.Tensor) -> torch.Tensor:
    """The grey picture Y of an image, (N, 3, H, W) with three equal channels."""
    check_form(image, "the picture")
    weighted = image * YIQ[0].to(image).view(1, 3, 1, 1)
    return weighted.sum(1, keepdim=True).expand_as(image).contiguous()


def with_colors_of(image: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
    """The luminance of one image with the chrominance I, Q of another
    (Gatys et al. 2017, section 5.2).
    """
    check_form(image, "the picture")
    check_form(colors, "the picture with the colours")
    check_together(image, colors, "the pictures")
    if image.shape != colors.shape:
        raise InputError(
            f"pictures of shape {tuple(image.shape)} and {tuple(colors.shape)} were "
            "given; give two of the same shape"
        )
    colors = colors.to(image)
    matrix = YIQ.to(image)
    yiq = torch.einsum("ij,njhw->nihw", matrix, colors).clone()
    yiq[:, 0] = luminance(image)[:, 0]
    back = torch.linalg.inv(YIQ).to(image)
    return torch.einsum("ij,njhw->nihw", back, yiq).clamp(0, 1)


def match_color(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Recolour an image so that mean and covariance of its RGB values
    are the reference's.

    The linear map of Gatys et al. (2017), section 5.1, by the symmetric square roots
    of both covariances.
    """
    check_image(image, "the picture", slack=20)
    check_image(reference, "the picture with the colours", slack=20)
    flat, goal = (
        given.transpose(0, 1).flatten(1).double().cpu() for given in (image, reference)
    )
    root, goal_root = (
        _square_root(torch.cov(given) + 1e-6 * torch.eye(3, dtype=given.dtype))
        for given in (flat, goal)
    )
    centred = torch.linalg.solve(root, flat - flat.mean(1, keepdim=True))
    matched = goal_root @ centred + goal.mean(1, keepdim=True)
    matched = matched.view_as(image.transpose(0, 1)).transpose(0, 1)
    return matched.to(image).clamp(0, 1).contiguous()


def _square_root(matrix: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T


def match_luminance(style: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
    """The style in grey, with the mean and the deviation of the content's luminance."""
    grey, goal = luminance(style), luminance(content)
    check_together(grey, goal, "the style and the picture")
    scale = goal.std() / grey.std().clamp_min(1e-6)
    return ((grey - grey.mean()) * scale + goal.mean()).clamp(0, 1)


def brightness_of(image: torch.Tensor) -> torch.Tensor:
    """Brightness Y of pictures (N, 3, H, W): (N, 1, H, W), a weighted mean of the
    colours (ITU-R BT.601).
    """
    red, green, blue = image.float().split(1, 1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def from_chroma(brightness: torch.Tensor, chroma: torch.Tensor) -> torch.Tensor:
    """Pictures (N, 3, H, W) of brightness (N, 1, H, W) and chrominance Cb, Cr
    (N, 2, H, W) in [-0.5, 0.5].
    """
    blue = brightness + 2 * (1 - LUMA[2]) * chroma[:, :1]
    red = brightness + 2 * (1 - LUMA[0]) * chroma[:, 1:]
    green = (brightness - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.cat([red, green, blue], 1)


def chroma_centres(classes: int) -> torch.Tensor:
    """The colours of a square grid of chrominance, (classes^2, 2): Cb in the slow
    order, Cr in the quick one, both from -0.5 to 0.5.
    """
    steps = torch.linspace(-0.5, 0.5, classes)
    return torch.cartesian_prod(steps, steps)


def chroma_shares(image: torch.Tensor, classes: int) -> torch.Tensor:
    """Which colours of :func:`chroma_centres` the pixels of pictures (N, 3, H, W) have:
    (N, classes^2, H, W), shares of the four nearest, whose mean is the pixel's colour.

    Zhang et al. (2016), section 2.1, take the five nearest with Gaussian weights.
    """
    brightness, (red, _, blue) = brightness_of(image), image.float().split(1, 1)
    steps = torch.arange(classes, device=image.device).view(1, -1, 1, 1)
    along_blue, along_red = (
        (1 - ((end + 0.5) * (classes - 1) - steps).abs()).clamp_min(0)
        for end in (
            (blue - brightness) / (2 * (1 - LUMA[2])),
            (red - brightness) / (2 * (1 - LUMA[0])),
        )
    )
    return (along_blue[:, :, None] * along_red[:, None]).flatten(1, 2)
