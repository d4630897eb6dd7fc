"""Perceptual losses for images, to learn, to teach and to use.

Every public name can be imported from here; nothing heavy is loaded before the first one is used.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_HOMES = {
    "errors": ("InputError",),
    "device": ("best_device", "best_precision"),
    "images": ("bundled", "bundled_names", "read_image", "resize", "write_image"),
    "vgg": ("CONV_LAYERS", "RELU_LAYERS", "Encoder", "LossNetwork"),
    "losses": (
        "PerceptualLoss",
        "feature_loss",
        "gram_matrix",
        "pixel_loss",
        "style_loss",
        "total_variation",
    ),
    "settings": (
        "DenoisingSettings",
        "InpaintingSettings",
        "OptimizeSettings",
        "ReconstructionSettings",
        "StyleTrainingSettings",
        "SuperResolutionSettings",
        "TextureSettings",
        "TrainingSettings",
        "TransferSettings",
    ),
    "optimize": ("optimize_image", "reconstruct_features", "reconstruct_style", "transfer_style"),
    "networks": (
        "FastTransformNet",
        "TransformNet",
        "blend_networks",
        "load_network",
        "save_network",
    ),
    "datasets": ("Pictures",),
    "training": ("StyleTask", "train"),
    "zoo": ("load_inverter", "load_restorer", "load_style", "load_vae", "stylize"),
    "degradations": ("add_noise", "crop_to_multiple", "downscale", "random_holes", "to_8_bits"),
    "networks.residual": ("DenoisingNet", "InpaintingNet", "SubPixelNet", "SuperResolutionNet"),
    "restoration_training": ("DenoisingTask", "InpaintingTask", "SuperResolutionTask"),
    "restoration": ("denoise", "inpaint", "upscale"),
    "deepsim": ("DeepSimLoss", "kl_divergence"),
    "networks.generators": (
        "VAE",
        "ColorizationNet",
        "ConvAutoencoder",
        "Discriminator",
        "InversionNet",
        "code_shape",
    ),
    "likeness_settings": (
        "AutoencoderSettings",
        "ColorizationSettings",
        "InversionSettings",
        "VAESettings",
    ),
    "likeness_training": ("AutoencoderTask", "ColorizationTask", "InversionTask", "VAETask"),
    "inversion": ("encode", "invert", "keep_strongest", "reencode"),
    "metrics": (
        "diversity",
        "feature_distance",
        "perceptual_distance",
        "psnr",
        "sharpness",
        "ssim",
        "y_channel",
    ),
    "teaching.figures": ("curves", "frame_slider", "grid", "live_panel", "show", "sweep"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
