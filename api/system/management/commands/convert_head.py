"""The name of `convert_weights` before it read anything but scorers' heads."""

from api.system.management.commands.convert_weights import Command

__all__ = ["Command"]
