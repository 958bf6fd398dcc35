"""Other programs' names of samplers and noise schedules."""

import pytest

from api.images.sampler_names import find_scheduler
from api.images.scheduler_presets import SCHEDULERS


@pytest.mark.parametrize("name", SCHEDULERS)
def test_our_labels_and_names_are_read_back(name: str) -> None:
    assert find_scheduler(SCHEDULERS[name].label) == (name, "")
    assert find_scheduler(name) == (name, "")


@pytest.mark.parametrize(
    ("sampler", "schedule", "wanted"),
    [
        ("DPM++ 2M", "Automatic", "dpmpp_2m_karras"),
        ("Euler a", "Automatic", "euler_a"),
        ("DPM++ 2M SDE", "Karras", "dpmpp_2m_sde_karras"),
        ("dpmpp_2m", "karras", "dpmpp_2m_karras"),
        ("dpm_2_ancestral", "normal", "dpm2_a"),
        ("uni_pc", "simple", "unipc"),
        ("unipc_k", "", "unipc_karras"),
        ("kdpm_2_a", "", "dpm2_a"),
    ],
)
def test_other_programs_names_are_ours(sampler: str, schedule: str, wanted: str) -> None:
    assert find_scheduler(sampler, schedule) == (wanted, "")


def test_what_we_do_not_have_is_said() -> None:
    assert find_scheduler("DPM fast")[0] is None
    name, sentence = find_scheduler("Euler", "Exponential")
    assert name == "euler"
    assert "Exponential" in sentence
