# ruff: noqa: I001 each name stands once as itself, so that editors take it for public
from .degradations import (
    add_camera_noise as add_camera_noise,
    add_noise as add_noise,
    blur_with as blur_with,
    crop_to_multiple as crop_to_multiple,
    defocus_kernel as defocus_kernel,
    downscale as downscale,
    motion_kernel as motion_kernel,
    random_boxes as random_boxes,
    random_holes as random_holes,
    to_8_bits as to_8_bits,
)
from .device import (
    best_device as best_device,
    best_precision as best_precision,
)
from .encoder import Encoder as Encoder
from .errors import (
    InputError as InputError,
)
from .faces import (
    load_faces as load_faces,
)
from .networks.attributes import (
    face_attributes as face_attributes,
)
from .teaching.figures import (
    curves as curves,
    frame_slider as frame_slider,
    grid as grid,
    live_panel as live_panel,
    show as show,
    sweep as sweep,
)
from .images import (
    bundled as bundled,
    bundled_names as bundled_names,
    read_image as read_image,
    resize as resize,
    write_image as write_image,
)
from .deepsim import (
    DeepSimLoss as DeepSimLoss,
    kl_divergence as kl_divergence,
)
from .networks.codes import (
    code_shape as code_shape,
)
from .networks.colorization import (
    ColorizationNet as ColorizationNet,
)
from .networks.discriminator import (
    Discriminator as Discriminator,
)
from .networks.generators import (
    ConvAutoencoder as ConvAutoencoder,
    InversionNet as InversionNet,
)
from .networks.flow import (
    FlowNet as FlowNet,
)
from .networks.vae import (
    VAE as VAE,
)
from .losses import (
    feature_loss as feature_loss,
    gram_matrix as gram_matrix,
    pixel_loss as pixel_loss,
    style_loss as style_loss,
    total_variation as total_variation,
)
from .perceptual import (
    PerceptualLoss as PerceptualLoss,
    perceptual_loss as perceptual_loss,
)
from .metrics import (
    diversity as diversity,
    feature_distance as feature_distance,
    perceptual_distance as perceptual_distance,
    psnr as psnr,
    sharpness as sharpness,
    ssim as ssim,
    y_channel as y_channel,
)
from .networks.files import (
    blend_networks as blend_networks,
    load_network as load_network,
    save_network as save_network,
)
from .networks.transform import (
    FastTransformNet as FastTransformNet,
    TransformNet as TransformNet,
)
from .optimize import (
    optimize_image as optimize_image,
    reconstruct_features as reconstruct_features,
    reconstruct_style as reconstruct_style,
    transfer_style as transfer_style,
)
from .networks.gated import (
    GatedInpaintingNet as GatedInpaintingNet,
)
from .networks.residual import (
    DenoisingNet as DenoisingNet,
    InpaintingNet as InpaintingNet,
    SubPixelNet as SubPixelNet,
    SuperResolutionNet as SuperResolutionNet,
)
from .settings import (
    OptimizeSettings as OptimizeSettings,
    ReconstructionSettings as ReconstructionSettings,
    TextureSettings as TextureSettings,
    TrainingSettings as TrainingSettings,
    TransferSettings as TransferSettings,
)
from .training.loop import (
    train as train,
)
from .training.pictures import (
    Pictures as Pictures,
)
from .vgg import (
    CONV_LAYERS as CONV_LAYERS,
    RELU_LAYERS as RELU_LAYERS,
    LossNetwork as LossNetwork,
)
from .zoo import (
    load_diffusion as load_diffusion,
    load_inverter as load_inverter,
    load_restorer as load_restorer,
    load_style as load_style,
    load_vae as load_vae,
)
from .networks.codes import (
    encode as encode,
    keep_strongest as keep_strongest,
)
from .tasks.autoencode import (
    AutoencoderSettings as AutoencoderSettings,
    AutoencoderTask as AutoencoderTask,
)
from .tasks.colorize import (
    ColorizationSettings as ColorizationSettings,
    ColorizationTask as ColorizationTask,
    colorize as colorize,
)
from .tasks.deblur import (
    DeblurringSettings as DeblurringSettings,
    DeblurringTask as DeblurringTask,
    deblur as deblur,
)
from .tasks.denoise import (
    DenoisingSettings as DenoisingSettings,
    DenoisingTask as DenoisingTask,
    denoise as denoise,
)
from .tasks.diffuse import (
    DiffusionSettings as DiffusionSettings,
    DiffusionTask as DiffusionTask,
)
from .tasks.inpaint import (
    InpaintingSettings as InpaintingSettings,
    InpaintingTask as InpaintingTask,
    inpaint as inpaint,
)
from .tasks.invert import (
    InversionSettings as InversionSettings,
    InversionTask as InversionTask,
    invert as invert,
    reencode as reencode,
)
from .tasks.restyle import (
    match_statistics as match_statistics,
    restyle as restyle,
)
from .tasks.style import (
    StyleTask as StyleTask,
    StyleTrainingSettings as StyleTrainingSettings,
    stylize as stylize,
)
from .tasks.super_resolution import (
    SuperResolutionSettings as SuperResolutionSettings,
    SuperResolutionTask as SuperResolutionTask,
    upscale as upscale,
)
from .tasks.vae import (
    VAESettings as VAESettings,
    VAETask as VAETask,
    sample as sample,
)

__version__: str

__all__ = [
    "AutoencoderSettings",
    "AutoencoderTask",
    "CONV_LAYERS",
    "ColorizationNet",
    "ColorizationSettings",
    "ColorizationTask",
    "ConvAutoencoder",
    "DeblurringSettings",
    "DeblurringTask",
    "DeepSimLoss",
    "DenoisingNet",
    "DenoisingSettings",
    "DenoisingTask",
    "DiffusionSettings",
    "DiffusionTask",
    "Discriminator",
    "Encoder",
    "FastTransformNet",
    "FlowNet",
    "GatedInpaintingNet",
    "InpaintingNet",
    "InpaintingSettings",
    "InpaintingTask",
    "InputError",
    "InversionNet",
    "InversionSettings",
    "InversionTask",
    "LossNetwork",
    "OptimizeSettings",
    "PerceptualLoss",
    "Pictures",
    "RELU_LAYERS",
    "ReconstructionSettings",
    "StyleTask",
    "StyleTrainingSettings",
    "SubPixelNet",
    "SuperResolutionNet",
    "SuperResolutionSettings",
    "SuperResolutionTask",
    "TextureSettings",
    "TrainingSettings",
    "TransferSettings",
    "TransformNet",
    "VAE",
    "VAESettings",
    "VAETask",
    "add_camera_noise",
    "add_noise",
    "best_device",
    "best_precision",
    "blend_networks",
    "blur_with",
    "bundled",
    "bundled_names",
    "code_shape",
    "colorize",
    "crop_to_multiple",
    "curves",
    "deblur",
    "defocus_kernel",
    "denoise",
    "diversity",
    "downscale",
    "encode",
    "face_attributes",
    "feature_distance",
    "feature_loss",
    "frame_slider",
    "gram_matrix",
    "grid",
    "inpaint",
    "invert",
    "keep_strongest",
    "kl_divergence",
    "live_panel",
    "load_diffusion",
    "load_faces",
    "load_inverter",
    "load_network",
    "load_restorer",
    "load_style",
    "load_vae",
    "match_statistics",
    "motion_kernel",
    "optimize_image",
    "perceptual_distance",
    "perceptual_loss",
    "pixel_loss",
    "psnr",
    "random_boxes",
    "random_holes",
    "read_image",
    "reconstruct_features",
    "reconstruct_style",
    "reencode",
    "resize",
    "restyle",
    "sample",
    "save_network",
    "sharpness",
    "show",
    "ssim",
    "style_loss",
    "stylize",
    "sweep",
    "to_8_bits",
    "total_variation",
    "train",
    "transfer_style",
    "upscale",
    "write_image",
    "y_channel",
]
