import os
import sys
from functools import partial

from django.apps import AppConfig


class KillPlacesConfig(AppConfig):
    """In a worker it puts the hook into each place."""

    name = "benchmarks.kill_places"
    label = "kill_places"

    def ready(self) -> None:
        from benchmarks.kill_places.places import ORDER

        if ORDER in os.environ and "worker" in sys.argv:
            self.put_hooks()

    def put_hooks(self) -> None:
        import pytest

        from benchmarks.kill_places.places import PLACES, die_if_ordered
        from tests.backends.faults import Strike

        for place in PLACES:
            die = partial(die_if_ordered, place, [0])
            act = lambda *_, die=die: die()  # noqa: E731
            Strike(place.target, 0, act, any_call=True, after=place.after).put_into(pytest.MonkeyPatch())
