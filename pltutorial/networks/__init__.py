"""The network is the parameter: the networks of all tasks, how they are run, and the
files that keep them.
"""

from .attributes import AttributeNet as AttributeNet
from .codes import code_shape as code_shape
from .codes import encode as encode
from .codes import keep_strongest as keep_strongest
from .colorization import ColorizationNet as ColorizationNet
from .discriminator import Discriminator as Discriminator
from .files import FORMAT as FORMAT
from .files import VERSION as VERSION
from .files import architecture as architecture
from .files import blend_networks as blend_networks
from .files import build as build
from .files import load_network as load_network
from .files import read_header as read_header
from .files import save_network as save_network
from .flow import FlowNet as FlowNet
from .gated import GatedInpaintingNet as GatedInpaintingNet
from .generators import ConvAutoencoder as ConvAutoencoder
from .generators import InversionNet as InversionNet
from .inference import apply as apply
from .kinds import network_kind as network_kind
from .kinds import trainable as trainable
from .residual import DenoisingNet as DenoisingNet
from .residual import InpaintingNet as InpaintingNet
from .residual import SubPixelNet as SubPixelNet
from .residual import SuperResolutionNet as SuperResolutionNet
from .transform import NORMS as NORMS
from .transform import SMALLEST as SMALLEST
from .transform import UPSAMPLINGS as UPSAMPLINGS
from .transform import FastTransformNet as FastTransformNet
from .transform import TransformNet as TransformNet
from .vae import VAE as VAE
