"""What the labs of chapters 9 and 11 compute with: decoders, codes and the denoiser,
laid out beside the other networks of the live page.
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INGREDIENTS = sorted((ROOT / "data" / "faces").glob("*.zip"))
GRAPHS = ("faces.onnx", "flow.onnx")
DECODERS = {"pixel": "pixel", "deepsim": "DeePSiM", "gan": "VAE/GAN"}
# Unseen faces that a walk may begin or end at, four at a time.
ENDS = (0, 3, 7, 4, 12, 20, 9, 30, 41, 33, 58, 61)
# Of each attribute the mean code of one value less that of another.
ATTRIBUTES = (
    ("long hair", "rear_hair", "long straight", "none"),
    ("blond hair", "hair_color", "blond", "black"),
    ("dark skin", "skin_color", "dark", "light"),
    ("full beard", "beard", "full beard", "none"),
    ("laughing mouth", "mouth", "laugh", "sad"),
)
RANDOM = "random direction"


def export_faces(target: Path) -> dict[str, dict]:
    """Write both graphs, faces.json with the codes and faces.png with the faces at the
    ends of the walks; return what labs.json says of them.
    """
    import torch
    from PIL import Image

    from pltutorial import load_diffusion, load_faces, load_vae, sharpness
    from pltutorial.images import to_bytes
    from pltutorial.onnx.flow import decoders_onnx, flow_onnx

    networks = {name: load_vae(name, device="cpu").eval() for name in DECODERS}
    flow = load_diffusion(device="cpu").eval()
    known, unseen = load_faces("train"), load_faces("test")
    ends = unseen.pictures[list(ENDS)]
    files = {"faces.onnx": decoders_onnx(networks), "flow.onnx": flow_onnx(flow)}
    for name, data in files.items():
        (target / name).write_bytes(data)
    row = to_bytes(torch.cat(list(ends), 2)[None])[0].permute(1, 2, 0)
    Image.fromarray(row.numpy()).save(target / "faces.png", optimize=True)
    about = {
        "names": [*(words for words, *_ in ATTRIBUTES), RANDOM],
        "titles": DECODERS,
        "networks": {
            name: _codes(network, known, ends) for name, network in networks.items()
        },
    }
    (target / "faces.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
    sizes = {name: len(data) for name, data in files.items()}
    return {
        "faces": {
            "file": "faces.onnx",
            "bytes": sizes["faces.onnx"],
            "about": "faces.json",
            "picture": "faces.png",
            "ends": len(ENDS),
            "size": flow.size,
        },
        "flow": {
            "file": "flow.onnx",
            "bytes": sizes["flow.onnx"],
            "size": flow.size,
            "classes": list(flow.classes),
            # of faces drawn by hand, by pltutorial.sharpness
            "sharpness": float(sharpness(unseen.pictures).mean()),
        },
    }


def _codes(network, known, ends) -> dict[str, list]:
    """Of one network: the codes of the ends, the vectors of the attributes, and the
    Gaussian that chapter 9 fits to all codes of training, by its mean and the lower
    triangle of its Cholesky factor, row by row.
    """
    import torch

    with torch.no_grad():
        mean, log_variance = network.encode(known.pictures)
        codes = network.encode(ends)[0]
    vectors = []
    for _, attribute, value, other in ATTRIBUTES:
        values, words = known.attributes[attribute], known.names[attribute]
        with_it, without = (
            mean[values == words.index(word)].mean(0) for word in (value, other)
        )
        vectors.append(with_it - without)
    generator = torch.Generator().manual_seed(0)
    aside = torch.randn(network.latent, generator=generator)
    vectors.append(aside * vectors[0].norm() / aside.norm())
    cloud = mean.T.cov() + log_variance.exp().mean(0).diag()
    factor = torch.linalg.cholesky(cloud)
    triangle = factor[torch.tril_indices(*factor.shape).unbind()]
    return {
        "codes": _short(codes),
        "vectors": _short(torch.stack(vectors)),
        "mean": _short(mean.mean(0)),
        "factor": _short(triangle),
    }


def _short(values) -> list:
    """With five digits, which is finer than anybody sees."""
    if values.ndim > 1:
        return [_short(row) for row in values]
    return [float(f"{value:.5g}") for value in values.tolist()]
