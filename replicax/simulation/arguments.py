"""Checks of arguments: every refusal names the argument, its value and the allowed range."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """``value`` as an int, low <= value <= high; ValueError otherwise."""
    allowed = f"an integer >= {low}" if high is None else f"an integer in [{low}, {high}]"
    try:
        number = operator.index(value)
    except TypeError:
        number = int(value) if isinstance(value, float) and value.is_integer() else None
    if number is None or isinstance(value, bool) or number < low or (high is not None and number > high):
        raise ValueError(f"{name} = {value!r} is not allowed: {name} must be {allowed}")
    return number


def real(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, infinite: bool = False
) -> float:
    """``value`` as a float in [low, high], finite unless ``infinite``; ValueError otherwise."""
    kind = "a number" if infinite else "a finite number"
    allowed = f"{kind} in [{low:g}, {high:g}]"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {value!r} is not allowed: {name} must be {allowed}") from None
    if not low <= number <= high or (math.isinf(number) and not infinite):
        raise ValueError(f"{name} = {value!r} is not allowed: {name} must be {allowed}")
    return number


def choice(name: str, value, options: Sequence[str]) -> str:
    """``value`` if it is one of ``options``; ValueError otherwise."""
    if value not in options:
        raise ValueError(f"{name} = {value!r} is not allowed: {name} must be one of {', '.join(options)}")
    return value
