from __future__ import annotations

import pytest

from api.catalog import UnknownAdapter
from api.errors import DarkroomError
from api.images.backends.local import generate
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, request


def picture(loader: ModelLoader, **fields: object) -> bytes:
    return generate(loader, [request(**fields)], Recorder())[0][0].tobytes()


def test_an_adapter_acts_with_its_weight_and_leaves_no_trace(loader: ModelLoader) -> None:
    before = picture(loader)
    strong, weak = picture(loader, loras=(("bold", 1.0),)), picture(loader, loras=(("bold", 0.3),))
    after = picture(loader)

    assert len({before, strong, weak}) == 3
    assert before == after


def test_an_adapter_of_weight_zero_changes_nothing(loader: ModelLoader) -> None:
    assert picture(loader, loras=(("bold", 0.0),)) == picture(loader)


def test_the_same_adapter_twice_in_a_row_gives_the_same_picture(loader: ModelLoader) -> None:
    assert picture(loader, loras=(("bold", 0.8),)) == picture(loader, loras=(("bold", 0.8),))


def test_an_adapter_of_another_family_is_an_error_that_names_the_field(loader: ModelLoader) -> None:
    with pytest.raises(DarkroomError) as raised:
        picture(loader, loras=(("foreign", 1.0),))

    assert (raised.value.code, raised.value.status, raised.value.field) == ("lora_mismatch", 400, "loras")


def test_an_adapter_whose_weights_do_not_fit_is_an_error_and_leaves_no_trace(loader: ModelLoader) -> None:
    before = picture(loader, model_id="sdxl")

    with pytest.raises(DarkroomError, match="does not fit"):
        picture(loader, model_id="sdxl", loras=(("foreign", 1.0),))

    assert picture(loader, model_id="sdxl") == before


def test_an_unknown_adapter_is_the_catalog_s_error(loader: ModelLoader) -> None:
    with pytest.raises(UnknownAdapter):
        picture(loader, loras=(("no-such-adapter", 1.0),))
