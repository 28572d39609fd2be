"""A count with its noun, as conditions, events and the command line say it."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """1 replica, 2 replicas."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def serving(ready: int, *, wanted: int) -> str:
    """How many replicas of how many serve; while a new revision comes up beside the old one, more than wanted may."""
    if ready > wanted:
        return f"{counted(ready, 'replica')} {'serves' if ready == 1 else 'serve'}, {wanted} wanted"
    return f"{ready} of {counted(wanted, 'replica')} {'serves' if wanted == 1 else 'serve'}"
