"""What a loss returns, terms by name, and what a step leaves in the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.utils import _pytree


class LossTerms(dict):
    """The weighted terms by name, and ``total``, their sum; tensors on the
    device of the output.

    Where a plain loss is wanted it serves as its total: ``0.1 * terms``,
    ``terms + other``, ``sum([...])``, ``terms / 2``, ``-terms``, ``terms.backward()``,
    ``terms.item()``, ``terms.detach()``, ``float(terms)``, ``terms < best``,
    ``f"{terms:.3f}"``, what a tensor has (``terms.shape``, ``terms.mean()``) and
    functions of torch (``torch.isnan(terms)``); arithmetic gives a tensor. What asks
    for a tensor by its type, as ``GradScaler.scale``, ``torch.func.grad`` and Lightning
    do, is given ``terms.total``.

    Example:
        >>> terms = LossTerms(content=torch.tensor(2.0), style=torch.tensor(0.5))
        >>> terms["edges"] = torch.tensor(0.25)  # a term of your own
        >>> terms.total
        tensor(2.7500)
        >>> 0.1 * terms + torch.tensor(1.0)
        tensor(1.2750)
    """

    @property
    def total(self) -> torch.Tensor:
        """The sum of all terms."""
        return torch.stack(list(self.values())).sum(0)

    def backward(self, *args, **kwargs) -> None:
        """Gradients of the total."""
        self.total.backward(*args, **kwargs)

    def item(self) -> float:
        """The total as a number; waits for the device."""
        return self.total.item()

    def detach(self) -> torch.Tensor:
        """The total without its graph."""
        return self.total.detach()

    if not TYPE_CHECKING:  # which finds misspelt names

        def __getattr__(self, name: str):
            if name.startswith("_") or not hasattr(torch.Tensor, name):
                raise AttributeError(f"LossTerms has no {name!r}, and no tensor has")
            return getattr(self.total, name)

    def __reduce__(self):  # torch.load knows how to call, not how to fill a subclass
        return type(self), (dict(self),)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        """Functions of torch see the total."""
        seen = _pytree.tree_map(
            _total, (args, kwargs or {}), is_leaf=lambda value: isinstance(value, cls)
        )
        return function(*seen[0], **seen[1])

    def mean(self) -> torch.Tensor:
        """The mean of the total: of values per picture, or of a map."""
        return self.total.mean()

    def __float__(self) -> float:
        return float(self.total.detach())

    def __format__(self, how: str) -> str:
        return format(self.item(), how) if how else str(self)

    def __neg__(self) -> torch.Tensor:
        return -self.total

    def __add__(self, other) -> torch.Tensor:
        return self.total + _total(other)

    def __sub__(self, other) -> torch.Tensor:
        return self.total - _total(other)

    def __rsub__(self, other) -> torch.Tensor:
        return _total(other) - self.total

    def __mul__(self, other) -> torch.Tensor:
        return self.total * _total(other)

    def __truediv__(self, other) -> torch.Tensor:
        return self.total / _total(other)

    __radd__, __rmul__ = __add__, __mul__

    def __rtruediv__(self, other) -> torch.Tensor:
        return _total(other) / self.total

    def __pow__(self, power) -> torch.Tensor:
        return self.total**power

    def __abs__(self) -> torch.Tensor:
        return self.total.abs()

    def __lt__(self, other) -> torch.Tensor:
        return self.total < _total(other)

    def __le__(self, other) -> torch.Tensor:
        return self.total <= _total(other)

    def __gt__(self, other) -> torch.Tensor:
        return self.total > _total(other)

    def __ge__(self, other) -> torch.Tensor:
        return self.total >= _total(other)


def _total(other):
    return other.total if isinstance(other, LossTerms) else other


# checkpoints hold it, {"loss": loss}, and torch.load reads only what it knows
torch.serialization.add_safe_globals([LossTerms])
# torch.func, torch.export and vmap look into what they return
_pytree.register_pytree_node(
    LossTerms,
    lambda terms: (list(terms.values()), list(terms)),
    lambda values, names: LossTerms(zip(names, values, strict=True)),
    serialized_type_name="pltutorial.terms.LossTerms",
)


@dataclass(frozen=True)
class Record:
    """What one step did: the weighted terms and their total before the step, and the
    seconds since the start.

    ``image`` is the picture that has these terms, (1, 3, H, W) in [0, 1]; callbacks get
    it, the history leaves it out.

    Example:
        >>> terms = {"content/relu3_3": 0.5, "pixel": 0.25}
        >>> record = Record(step=10, total=0.75, terms=terms, seconds=2.0)
        >>> record.step, record.terms["pixel"]
        (10, 0.25)
        >>> record.total == sum(record.terms.values())
        True
    """

    step: int
    total: float
    terms: dict[str, float]
    seconds: float
    image: torch.Tensor | None = None
