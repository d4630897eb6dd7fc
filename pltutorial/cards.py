"""The cards of :mod:`pltutorial.training.cards`, under the name they had first."""

from .training.cards import kept_settings, processor, training_card

__all__ = ["kept_settings", "processor", "training_card"]
