"""One file a task: settings, what is taken away, network, loss, function, limits; see
:mod:`pltutorial.register`.
"""

from ..register import Command, Option, TaskSpec, all, find, register

__all__ = ["Command", "Option", "TaskSpec", "all", "find", "register"]
