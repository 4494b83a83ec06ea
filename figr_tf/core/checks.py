"""What settings may be. Each check raises ValueError with the name and the value received."""

from collections.abc import Sequence
from typing import Any


def at_least(settings: Any, least: float, *names: str) -> None:
    """Unless each of these attributes is `least` or more."""
    for name in names:
        if getattr(settings, name) < least:
            raise ValueError(f"{name} must be {least} or more. Received: {getattr(settings, name)}")


def one_of(settings: Any, **known: Sequence[str]) -> None:
    """Unless each of these attributes is one of its names: `one_of(self, loss=LOSSES)`."""
    for name, names in known.items():
        if getattr(settings, name) not in names:
            raise ValueError(
                f"{name} must be one of {', '.join(names)}. Received: {getattr(settings, name)}"
            )
