"""Flow matching with a network that predicts the picture: the path from noise to a
picture, the velocity along it, and the samplers that follow it.

Pictures are centred here, in [-1, 1], so that noise of variance 1 hides them. The time
t runs from 0, noise alone, to 1, the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from .errors import InputError, nearest
from .tensors import check_dense, check_times, check_together

SOLVERS = ("euler", "heun")


def centred(image: torch.Tensor) -> torch.Tensor:
    """Pictures in [0, 1] as the path has them, in [-1, 1]."""
    check_dense(image, "the picture")
    return 2 * image - 1


def pictured(x: torch.Tensor) -> torch.Tensor:
    """What the path ends in as pictures in [0, 1]; values outside are cut."""
    check_dense(x, "the point of the path")
    return ((x + 1) / 2).clamp(0, 1)


def noisy(
    x: torch.Tensor, noise: torch.Tensor, t: torch.Tensor | float
) -> torch.Tensor:
    """A point of the straight path from noise to a picture, t x + (1 - t) noise.

    Args:
        x: pictures (N, 3, H, W), centred.
        noise: of the same shape, standard normal.
        t: times in [0, 1], one number or (N,).

    Returns:
        (N, 3, H, W).

    Source: Lipman et al. (2023), Flow matching for generative modeling, section 4.1;
    Liu et al. (2023), Flow straight and fast, equation 1.

    Example:
        >>> x, noise = torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
        >>> float(noisy(x, noise, 0.25).mean())
        0.25

    Taught in chapter 11.
    """
    _check_points(x=x, noise=noise)
    t = _times_of(t, x)
    return t * x + (1 - t) * noise


def velocity(
    estimate: torch.Tensor,
    x_t: torch.Tensor,
    t: torch.Tensor | float,
    least_left: float = 0.0,
) -> torch.Tensor:
    """Where the path goes if it ends in the estimate, (estimate - x_t) / (1 - t).

    Args:
        estimate: of the picture, (N, 3, H, W), centred.
        x_t: where the path is, of the same shape.
        t: times in [0, 1), one number or (N,).
        least_left: 1 - t counts as at least this.

    Returns:
        (N, 3, H, W); for the true picture it is picture - noise at every t.

    Source: Li and He (2025), Back to basics: let denoising generative models denoise,
    section 4.

    Example:
        >>> x, noise = torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
        >>> velocity(x, noisy(x, noise, 0.25), 0.25).mean()  # x - noise
        tensor(1.)

    Taught in chapter 11.
    """
    _check_points(estimate=estimate, x_t=x_t)
    left = (1 - _times_of(t, x_t)).clamp_min(least_left)
    return (estimate - x_t) / left


def path(
    denoise: Callable[[torch.Tensor, float], torch.Tensor],
    noise: torch.Tensor,
    steps: int = 25,
    solver: str = "euler",
) -> Iterator[tuple[float, torch.Tensor]]:
    """The way from noise to pictures, step by step.

    Each step goes along the velocity of the denoiser's estimate. One step of Euler is
    the estimate at t = 0, which is the mean of all pictures if the denoiser is the best
    one. Heun's method looks a second time, at the end of the step, and takes the mean
    of both velocities; its last step, where the second look would divide by zero, is
    Euler's.

    Args:
        denoise: ``denoise(x_t, t)``, an estimate of the picture, centred.
        noise: (N, 3, H, W), standard normal.
        steps: of equal length from t = 0 to 1.
        solver: ``"euler"`` or ``"heun"``.

    Yields:
        the time and the point x_t after each step; the last one is the pictures.

    Raises:
        InputError: no step, or an unknown solver.

    Source: Karras et al. (2022), Elucidating the design space of diffusion-based
    generative models, algorithm 1.

    Example:
        >>> white = lambda x_t, t: torch.ones_like(x_t)
        >>> [(t, float(x.mean())) for t, x in path(white, torch.zeros(1, 3, 8, 8), 2)]
        [(0.5, 0.5), (1.0, 1.0)]

    Taught in chapter 11.
    """
    if steps < 1:
        raise InputError(f"steps={steps} was given; give at least 1")
    if solver not in SOLVERS:
        raise InputError(
            f"there is no solver {solver!r}; {nearest(str(solver), SOLVERS)}"
        )
    return follow(denoise, noise, steps, solver)


def follow(
    denoise: Callable[[torch.Tensor, float], torch.Tensor],
    x: torch.Tensor,
    steps: int,
    solver: str,
) -> Iterator[tuple[float, torch.Tensor]]:
    """The steps of :func:`path`."""
    for step in range(steps):
        t, after = step / steps, (step + 1) / steps
        slope = velocity(denoise(x, t), x, t)
        if solver == "heun" and step < steps - 1:
            guess = x + (after - t) * slope
            slope = (slope + velocity(denoise(guess, after), guess, after)) / 2
        x = x + (after - t) * slope
        yield after, x


def _times_of(t: torch.Tensor | float, x: torch.Tensor) -> torch.Tensor:
    """Times as (N, 1, 1, 1) or a scalar beside ``x``."""
    t = check_times(t, x, x.dtype)
    return t.view(-1, *[1] * (x.ndim - 1)) if t.ndim else t


def _check_points(**points: torch.Tensor) -> None:
    """Refuse two points of a path that are none, or of different shapes."""
    for name, point in points.items():
        check_dense(point, name)
    check_together(*points.values(), " and ".join(points))
    one, other = (tuple(point.shape) for point in points.values())
    if one != other or not one:  # numbers (N,) have paths, too
        raise InputError(
            f"{' and '.join(points)} have the shapes {one} and {other}; give two of "
            "the same, (N, 3, H, W)"
        )
