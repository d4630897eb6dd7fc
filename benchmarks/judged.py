"""What the second judge sees of small pictures, as the records of chapters 9 to 11 have
it; `pltutorial.compare.judged_features` is for photographs of any size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pltutorial.distances import second_judge

AT_ONCE = 50


@torch.no_grad()
def pooled(
    pictures: torch.Tensor, enlarged: int = 1, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Pooled features of EfficientNet-Lite0, (N, 1280), on the CPU, of pictures whose
    pixels are repeated `enlarged` times along both sides.
    """
    judge, found = second_judge(torch.device(device)), []
    for part in pictures.split(AT_ONCE):
        large = F.interpolate(part, scale_factor=float(enlarged))
        found.append(judge(large.to(device), ["pooled"])["pooled"].cpu())
    return torch.cat(found)
