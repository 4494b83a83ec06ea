"""What settings may be: checks whose errors say the name and the value received."""

import math
from collections.abc import Sequence
from typing import Any


def at_least(settings: Any, least: float, *names: str) -> None:
    """Raises ValueError unless each of these attributes is `least` or more, and finite."""
    for name in names:
        value = getattr(settings, name)
        # False also for nan, which no comparison refuses.
        if not least <= value < math.inf:
            raise ValueError(f"{name} must be {least} or more. Received: {value}")


def positive(settings: Any, *names: str) -> None:
    """Raises ValueError unless each of these attributes is above 0, and finite."""
    for name in names:
        value = getattr(settings, name)
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be above 0. Received: {value}")


def one_of(settings: Any, **known: Sequence[str]) -> None:
    """Raises ValueError unless each is one of its names, as in `one_of(self, loss=LOSSES)`."""
    for name, names in known.items():
        value = getattr(settings, name)
        if value not in names:
            raise ValueError(f"{name} must be one of {', '.join(names)}. Received: {value}")
