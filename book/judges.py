"""What the page on judges is filled with, from the record of `benchmarks/judges.py`:
its tables, and the numbers of its sentences.
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "judges.json"
GRAIN = ROOT / "notebooks" / "records" / "grain.json"
PICTURES = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "st_lpips": "ST-LPIPS",
    "vgg/relu3_3": "VGG-16 relu3_3",
    "content": "EfficientNet",
    "lattice": "lattice",
}
COLUMNS = {
    "pictures": ("what", PICTURES),
    "downhill": ("moved down", PICTURES),
    "collections": (
        "what",
        {
            "frechet": "Fréchet",
            "kernel": "kernel",
            "precision": "precision",
            "recall": "recall",
        },
    ),
    "few": ("pictures", {"frechet": "Fréchet", "kernel": "kernel"}),
    "styles": (
        "what",
        {
            "vgg/gram": "Gram, VGG-16",
            "lite0/gram": "Gram, EfficientNet",
            "vgg/statistics": "statistics, VGG-16",
            "lite0/statistics": "statistics, EfficientNet",
            "vgg/sliced": "sliced, VGG-16",
            "lite0/sliced": "sliced, EfficientNet",
        },
    ),
    "frames": ("what", {"without flow": "no flow", "along the flow": "true flow"}),
}


def record() -> dict:
    """The rows of each table, and what they were computed on."""
    known = json.loads(RECORD.read_text(encoding="utf-8"))
    sets = known["collections"]
    return known | {"collections": sets["rows"], "few": sets["few"]}


def said(value: float | None) -> str:
    """Three digits, as many as the calibration carries."""
    if value is None:
        return "∞"
    if abs(value) < 1e-9:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def tables() -> dict[str, str]:
    """Mark of the page -> its table."""
    rows = record()
    made = {}
    for name, (first, columns) in COLUMNS.items():
        lines = [
            f"| {'' if first != 'pictures' else first} | "
            f"{' | '.join(columns.values())} |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for row in rows[name]:
            cells = " | ".join(said(row[key]) for key in columns)
            label = {**PICTURES, "none": "nothing"}.get(row[first], row[first])
            lines.append(f"| {label} | {cells} |")
        made[f"% the judges' {name} are put here"] = "\n".join(lines)
    return made


def values() -> dict[str, str]:
    """What its sentences name, as `{{ name }}`."""
    rows = record()
    what = {row["what"]: row for row in rows["pictures"]}
    moved = {row["moved down"]: row for row in rows["downhill"]}
    sets = {row["what"]: row for row in rows["collections"]}
    styles = {row["what"]: row for row in rows["styles"]}
    frames = {row["what"]: row for row in rows["frames"]}
    plain, dotted = what["x4 by the pixel network"], what["the same with dots, 0.06"]
    shift, dark = what["moved by 1 px"], what["20% darker"]
    dots = what["dots, amplitude 0.02"]
    ten, mirror = (
        sets["ten crops, each as often"],
        sets["the reference itself, mirrored"],
    )
    chosen = {
        "shift_psnr": shift["psnr"],
        "blur_psnr": what["blur, sigma 1 px"]["psnr"],
        "noise_content": what["noise, sigma 5 of 255"]["content"],
        "plain_lpips": plain["st_lpips"],
        "dotted_lpips": dotted["st_lpips"],
        "plain_content": plain["content"],
        "dotted_content": dotted["content"],
        "dots_lpips": dots["st_lpips"],
        "dots_lattice": dots["lattice"],
        "photo_lattice": dots["lattice_target"],
        "dark_content": dark["content"],
        "dark_psnr": dark["psnr"],
        "start_content": moved["none"]["content"],
        "down_content": moved["content"]["content"],
        "down_content_vgg": moved["content"]["vgg/relu3_3"],
        "start_vgg": moved["none"]["vgg/relu3_3"],
        "down_vgg": moved["vgg/relu3_3"]["vgg/relu3_3"],
        "down_vgg_content": moved["vgg/relu3_3"]["content"],
        "start_lpips": moved["none"]["st_lpips"],
        "down_lpips": moved["content"]["st_lpips"],
        "ten_precision": ten["precision"],
        "ten_recall": ten["recall"],
        "mirror_frechet": mirror["frechet"],
        "tiles_gram": styles["its tiles in another order"]["vgg/gram"],
        "photo_gram": styles["the photograph"]["vgg/gram"],
        "tiles_sliced": styles["its tiles in another order"]["vgg/sliced"],
        "half_sliced": styles["the painting's other half"]["vgg/sliced"],
        "noise_lpips": what["noise, sigma 5 of 255"]["st_lpips"],
        "half_gram": styles["the painting's other half"]["vgg/gram"],
        "print_gram": styles["a print by the network"]["vgg/gram"],
        "print_gram_lite0": styles["a print by the network"]["lite0/gram"],
        "half_gram_lite0": styles["the painting's other half"]["lite0/gram"],
        "warp_source": frames["source"]["without flow"],
        "warp_prints": frames["prints, each on its own"]["along the flow"],
        "warp_blurred": frames["these, blurred by 2 px"]["along the flow"],
    }
    grain = json.loads(GRAIN.read_text(encoding="utf-8"))
    one, both = grain["one side"], grain["both sides"]
    chosen |= {
        "grain_faces": one["faces"]["0.01"]["precision"],
        "clean_faces": one["faces"]["0"]["precision"],
        "grain_crops": one["photographs"]["0.01"]["precision"],
        "clean_crops": one["photographs"]["0"]["precision"],
        "both_faces": both["real"]["0.01"]["precision"],
        "both_mean": both["mean"]["0.01"]["precision"],
        "both_blurred": both["blurred"]["0.01"]["precision"],
    }
    found = {f"judge_{name}": said(value) for name, value in chosen.items()}
    return found | {"judge_machine": rows["machine"].partition(", Python")[0]}
