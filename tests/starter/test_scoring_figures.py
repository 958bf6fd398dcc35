"""The evaluation of the heuristic scorer: what it compares, and what it prints."""

import json
from pathlib import Path

import pytest
from django.core.management import call_command

from api.starter import scoring_figures
from api.starter.world.posters import FAULTS


def test_the_kinds_of_fault_come_in_turn_and_pairs_are_the_same_each_time() -> None:
    first, second = (list(scoring_figures.pairs(12, 5)) for _ in range(2))
    assert [spoiled.fault for _, spoiled in first] == [*FAULTS, *FAULTS]
    assert first == second


def test_held_out_posters_are_not_those_of_development() -> None:
    assert next(scoring_figures.pairs(1, scoring_figures.SEED)) != next(scoring_figures.pairs(1, 1))


def test_a_share_is_of_the_pairs_of_its_fault_and_its_way() -> None:
    outcome = scoring_figures.Outcome
    outcomes = [
        outcome("contrast", "boxes", measure=True, overall=True, named=True, alarm=False),
        outcome("contrast", "boxes", measure=True, overall=False, named=False, alarm=False),
        *(outcome(fault, way, True, True, True, False) for fault in FAULTS[1:] for way in scoring_figures.WAYS),
        outcome("contrast", "picture", measure=False, overall=True, named=True, alarm=True),
    ]
    found = scoring_figures.shares(outcomes)
    assert found["boxes"]["contrast"] == {"measure": 1, "overall": 0.5, "named": 0.5, "alarm": 0}
    assert found["picture"]["contrast"]["measure"] == 0
    assert found["picture"]["all"]["measure"] == pytest.approx(5 / 6)


@pytest.mark.slow
def test_the_scorer_prefers_good_posters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("evaluate_scoring", pairs=36, seed=3, output=tmp_path / "figures.json")
    found = json.loads((tmp_path / "figures.json").read_text())["shares"]
    assert found["boxes"]["all"]["measure"] >= 0.9
    assert found["boxes"]["all"]["overall"] >= 0.85
    assert found["boxes"]["all"]["named"] >= 0.8
    assert found["picture"]["all"]["overall"] >= 0.75
    printed = capsys.readouterr().out
    assert all(fault in printed for fault in FAULTS)
    assert "false alarm" in printed
