"""What a bot is told of its call, within the limits of its vendor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def split_arguments(args: Iterable[str]) -> dict[str, str]:
    """The `key=value` arguments of Stasis(); others are ignored."""
    pairs = (argument.partition("=") for argument in args)
    return {key: value for key, separator, value in pairs if separator and key}


def bounded(
    always: Mapping[str, str], custom: Mapping[str, str], *, most: int, characters: int
) -> tuple[dict[str, str], int]:
    """Puts parameters together.

    Args:
        always: Who called whom; not counted.
        custom: Those of profile and call, the most important first.
        most: How many of `custom` the vendor allows.
        characters: How many characters their names and values may have together.

    Returns:
        The parameters, and how many were left out. Whole ones are left out, never half of one.
    """
    kept: dict[str, str] = {}
    left = characters
    for key, value in custom.items():
        size = len(key) + len(value)
        if len(kept) < most and size <= left:
            kept[key] = value
            left -= size
    return {**always, **kept}, len(custom) - len(kept)
