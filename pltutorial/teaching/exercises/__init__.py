"""Checks that the exercises of the chapters call: each says "Correct" with a
reason, or gives a hint.

A check tries the answer on inputs of its own, so a result copied from the
page does not pass.
"""

from __future__ import annotations

from .chapter1 import (
    check_best_picture,
    check_counterexample,
    check_grey_loss,
    check_psnr,
)
from .chapter2 import check_feature_shape, check_receptive_field, check_tap_loss
from .chapter3 import (
    check_batch_style_loss,
    check_covariance,
    check_distinct_numbers,
    check_shifted_gram,
)
from .chapter4 import (
    check_descent,
    check_gatys_weight,
    check_luminance_transfer,
    check_transfer,
)
from .chapter5 import check_break_even, check_even_kernel, check_training_step
from .chapter6 import (
    check_benchmark_psnr,
    check_same_when_small,
    check_training_pair,
    check_unshuffle,
)
from .chapter7 import check_hole_psnr, check_noisy_batch, check_posterior_mean
from .chapter8 import check_best_pictures, check_discriminator_step, check_pause
from .chapter9 import check_gaussian_kl, check_sphere_walk, check_vae_objective
from .chapter10 import check_annealed_mean, check_rank, check_rebalanced
from .chapter11 import check_best_denoiser, check_gated_term, check_heun_step
from .chapter12 import check_attack, check_coverage, check_decided
from .chapter13 import check_adaptive_weight, check_pulls, check_scaled_step
from .chapter14 import check_quantized, check_tiles, check_warp_error

__all__ = [
    "check_psnr",
    "check_best_picture",
    "check_grey_loss",
    "check_counterexample",
    "check_feature_shape",
    "check_receptive_field",
    "check_tap_loss",
    "check_distinct_numbers",
    "check_covariance",
    "check_batch_style_loss",
    "check_shifted_gram",
    "check_gatys_weight",
    "check_luminance_transfer",
    "check_descent",
    "check_transfer",
    "check_break_even",
    "check_even_kernel",
    "check_training_step",
    "check_unshuffle",
    "check_same_when_small",
    "check_benchmark_psnr",
    "check_training_pair",
    "check_hole_psnr",
    "check_posterior_mean",
    "check_noisy_batch",
    "check_best_pictures",
    "check_pause",
    "check_discriminator_step",
    "check_gaussian_kl",
    "check_sphere_walk",
    "check_vae_objective",
    "check_annealed_mean",
    "check_rank",
    "check_rebalanced",
    "check_best_denoiser",
    "check_heun_step",
    "check_gated_term",
    "check_decided",
    "check_coverage",
    "check_attack",
    "check_pulls",
    "check_adaptive_weight",
    "check_scaled_step",
    "check_quantized",
    "check_tiles",
    "check_warp_error",
]
