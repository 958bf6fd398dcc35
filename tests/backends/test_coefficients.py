"""Schedulers as tables of coefficients against diffusers' own objects, which are the reference."""

from __future__ import annotations

import copy
import inspect
import threading
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    SASolverScheduler,
)
from torch.utils._python_dispatch import TorchDispatchMode

from api.images.backends.engine import coefficients, table_steps
from api.images.backends.engine.coefficients import LATENTS, CoefficientTable, coefficient_table, extract
from api.images.backends.engine.table_steps import TableRow, advance, model_inputs
from api.images.backends.schedulers import make_scheduler
from api.images.scheduler_presets import SCHEDULER_NAMES, SCHEDULERS

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "set_alpha_to_one": False}
OWN = {
    "epsilon": PNDMScheduler(**BETAS, steps_offset=1, skip_prk_steps=True),
    "v_prediction": DDIMScheduler(**BETAS, steps_offset=1, clip_sample=False, prediction_type="v_prediction"),
    "sample": DDIMScheduler(**BETAS, timestep_spacing="linspace", clip_sample=False, prediction_type="sample"),
}
WITHOUT_SAMPLE = {"pndm", "euler_a", "euler_a_trailing", "dpm2", "dpm2_karras", "dpm2_a", "dpm2_a_karras"}
"""diffusers refuses to let them use a model that predicts the picture itself."""
KINDS = [(name, kind) for name in SCHEDULER_NAMES for kind in OWN if kind != "sample" or name not in WITHOUT_SAMPLE]
TOLERANCE = {("lms_karras", "sample"): 2e-5}
"""Of the largest latent. It weighs four outputs against each other: rounding alone made 1.1e-5 of 30 steps on one processor."""
RUNS = [(4, 0), (20, 8), (30, 0), (50, 20)]
"""Steps, and how many of them image-to-image skips."""
SHAPE = (1, 4, 8, 8)
SOURCE = torch.linspace(-3, 3, 256).reshape(SHAPE)
PAINTED = torch.tensor([1.0] * 4 + [0.0] * 4)
"""Half of each picture's columns, where it is inpainted."""


@pytest.fixture(scope="module")
def schedulers() -> dict[tuple[str, str], Any]:
    """Made once: dpm2's constructors take 200 ms."""
    return {(name, kind): make_scheduler(name, OWN[kind], "sd1") for name, kind in KINDS}


def model(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """Stands for a UNet: bounded, and what it answers depends on what it is given."""
    return 0.8 * torch.tanh(latents).roll(1, -1) + 0.1 * torch.sin(timestep.float() / 100).reshape(-1, 1, 1, 1)


def run_object(scheduler: Any, begin: int, eta: float, generator: torch.Generator, inpainting: bool) -> torch.Tensor:
    """As diffusers' pipelines do it."""
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    known = inspect.signature(scheduler.step).parameters
    arguments = {name: value for name, value in (("eta", eta), ("generator", generator)) if name in known}
    timesteps = scheduler.timesteps[begin:]
    noise = torch.randn(SHAPE, generator=generator)
    latents = scheduler.add_noise(SOURCE, noise, timesteps[:1]) if begin else noise * scheduler.init_noise_sigma
    for index, timestep in enumerate(timesteps):
        output = model(scheduler.scale_model_input(latents, timestep), timestep)
        latents = scheduler.step(output, timestep, latents, **arguments, return_dict=False)[0]
        if inpainting:
            is_last = index + 1 == len(timesteps)
            kept = SOURCE if is_last else scheduler.add_noise(SOURCE, noise, torch.tensor([timesteps[index + 1]]))
            latents = (1 - PAINTED) * kept + PAINTED * latents
    return latents


def first_row(table: CoefficientTable, begin: int, generator: torch.Generator) -> tuple[TableRow, torch.Tensor]:
    """The row, and the noise that it begins with."""
    noise = torch.randn(SHAPE, generator=generator)
    source, factor = table.start
    latents = source * SOURCE + factor * noise if begin else noise * table.init_noise_sigma
    return TableRow(table, latents, generator), noise


def run_pass(rows: list[TableRow]) -> None:
    timesteps = torch.stack([row.table.timesteps[row.position] for row in rows])
    advance(rows, model(model_inputs(rows), timesteps))


def run_table(table: CoefficientTable, begin: int, generator: torch.Generator, inpainting: bool = False) -> torch.Tensor:
    row, noise = first_row(table, begin, generator)
    while not row.is_done:
        source, factor = table.blend[row.position]
        run_pass([row])
        if inpainting:
            row.latents = (1 - PAINTED) * (source * SOURCE + factor * noise) + PAINTED * row.latents
    return row.latents


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_table(name: str, steps: int, begin: int = 0, kind: str = "epsilon") -> CoefficientTable:
    scheduler = make_scheduler(name, OWN[kind], "sd1")
    scheduler.set_timesteps(steps)
    table = coefficient_table(scheduler, begin=begin * scheduler.order, eta=SCHEDULERS[name].eta)
    assert table is not None
    return table


def test_a_step_in_which_memory_runs_out_is_made_again_of_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for fails in (False, True):
        rows = [first_row(make_table(name, 4), 0, seeded())[0] for name in ("euler_a", "dpmpp_2m_sde", "ddim")]
        run_pass(rows)
        if fails:
            with monkeypatch.context() as patch:
                patch.setattr(table_steps, "_sum_up", run_out)
                with pytest.raises(torch.OutOfMemoryError):
                    advance(rows, torch.ones(len(rows), *SHAPE[1:]))
        while not rows[0].is_done:
            run_pass(rows)
        made.append(torch.cat([row.latents for row in rows]))
    assert torch.equal(*made)


def run_out(*sums: object) -> None:
    raise torch.OutOfMemoryError


# ---------------------------------------------------------------- equality


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_a_table_makes_what_the_scheduler_makes(schedulers: dict[tuple[str, str], Any], name: str, kind: str) -> None:
    scheduler, eta = schedulers[name, kind], SCHEDULERS[name].eta
    for steps, skipped in RUNS:
        begin = skipped * scheduler.order
        scheduler.set_timesteps(steps)
        table = coefficient_table(scheduler, begin=begin, eta=eta)
        assert table is not None
        for inpainting in (False, True):
            scheduler.set_timesteps(steps)  # forgets the run before
            theirs, ours = seeded(), seeded()
            expected = run_object(scheduler, begin, eta, theirs, inpainting)
            found = run_table(table, begin, ours, inpainting)

            assert (found - expected).abs().max() <= TOLERANCE.get((name, kind), 1e-5) * expected.abs().max(), (
                steps,
                skipped,
                inpainting,
            )
            assert torch.equal(ours.get_state(), theirs.get_state()), "as many random numbers are drawn"


@pytest.mark.parametrize(
    "own",
    [
        PNDMScheduler(**BETAS),  # with Runge-Kutta passes
        DPMSolverMultistepScheduler(solver_order=3),
        SASolverScheduler(),
        EDMEulerScheduler(),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_a_checkpoint_may_have_a_scheduler_that_no_name_means(own: Any) -> None:
    for steps, begin in RUNS:
        scheduler = make_scheduler(None, own, "sd1")
        scheduler.set_timesteps(steps)
        table = coefficient_table(scheduler, begin=begin)
        assert table is not None
        expected = run_object(scheduler, begin, 0.0, seeded(), inpainting=True)
        found = run_table(table, begin, seeded(), inpainting=True)

        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max(), (steps, begin)


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_each_pass_draws_the_noise_that_the_scheduler_draws(schedulers: dict[tuple[str, str], Any], name: str) -> None:
    scheduler, eta = schedulers[name, "epsilon"], SCHEDULERS[name].eta
    scheduler.set_timesteps(6)
    table = extract(scheduler, eta=eta)
    assert table is not None
    known = inspect.signature(scheduler.step).parameters
    generator, drawn = seeded(), []
    arguments = {name: value for name, value in (("eta", eta), ("generator", generator)) if name in known}
    for timestep in scheduler.timesteps:
        before = generator.get_state()
        latents = scheduler.scale_model_input(SOURCE, timestep)
        scheduler.step(latents, timestep, SOURCE, **arguments, return_dict=False)
        drawn.append(not torch.equal(generator.get_state(), before))

    assert list(table.draws_noise) == drawn


# ---------------------------------------------------------------- many rows


def test_rows_of_all_schedulers_that_join_and_leave_equal_each_alone() -> None:
    tables = [(make_table(name, 5 + number % 4, number % 2, kind), number % 2) for number, (name, kind) in enumerate(KINDS)]
    alone = [run_table(table, begin, seeded(number)) for number, (table, begin) in enumerate(tables)]

    rows = [first_row(table, begin, seeded(number))[0] for number, (table, begin) in enumerate(tables)]
    waiting, running = list(rows), []
    while waiting or running:
        running += [waiting.pop() for _ in range(min(3, len(waiting)))]
        run_pass(running)
        running = [row for row in reversed(running) if not row.is_done]

    for row, expected in zip(rows, alone, strict=True):
        assert torch.equal(row.latents, expected)


def test_a_nan_stays_in_its_row() -> None:
    rows = [first_row(make_table(name, 4), 0, seeded(1))[0] for name in ("unipc", "dpmpp_2m_sde", "euler")]
    expected = run_table(rows[0].table, 0, seeded(1))
    rows[1].latents = torch.full(SHAPE, float("nan"))
    while not rows[0].is_done:
        run_pass(rows)

    assert torch.equal(rows[0].latents, expected)
    assert rows[1].latents.isnan().all()


def test_nothing_is_remembered_that_no_later_pass_reads() -> None:
    most = {name: make_table(name, 8).most_remembered for name in ("euler", "dpm2", "dpmpp_2m", "heun", "lms", "pndm", "unipc")}

    assert most == {"euler": 0, "dpm2": 1, "dpmpp_2m": 1, "heun": 2, "lms": 3, "pndm": 3, "unipc": 3}
    row, _ = first_row(make_table("unipc", 8), 0, seeded())
    while not row.is_done:
        run_pass([row])
    assert row.memory == ()


def test_outputs_are_kept_although_their_tensor_is_written_again() -> None:
    """As a CUDA graph writes it."""
    table = make_table("pndm", 5)
    expected = run_table(table, 0, seeded())
    row, _ = first_row(table, 0, seeded())
    outputs = torch.empty(SHAPE)
    while not row.is_done:
        outputs.copy_(model(model_inputs([row]), table.timesteps[row.position]))
        advance([row], outputs)
        outputs.fill_(7)

    assert torch.equal(row.latents, expected)


@pytest.mark.parametrize("change", [torch.Tensor.half, lambda outputs: outputs.to(memory_format=torch.channels_last)])
def test_outputs_in_half_precision_and_channels_last_are_taken(change: Any) -> None:
    names = ("euler", "unipc", "ddpm")
    ours, plain = ([first_row(make_table(name, 5), 0, seeded(3))[0] for name in names] for _ in range(2))
    outputs = change(torch.randn((3, *SHAPE[1:]), generator=seeded(9)))
    advance(ours, outputs)
    advance(plain, outputs.float().contiguous())

    for row, expected in zip(ours, plain, strict=True):
        assert row.latents.dtype == torch.float32
        assert torch.equal(row.latents, expected.latents)


def test_sums_for_a_gpu_and_for_a_cpu_are_the_same() -> None:
    generator = seeded()
    sums = [
        [(torch.randn(SHAPE, generator=generator), 0.3 * index - 1) for index in range(1, 1 + count)] for count in (1, 5, 2, 3)
    ]
    together, one_by_one = table_steps._sum_together(sums), table_steps._sum_one_by_one(sums)

    for found, expected in zip(together, one_by_one, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


# ---------------------------------------------------------------- the device


class RecordOperations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


READS = {"_local_scalar_dense", "item", "equal", "is_nonzero", "nonzero"}
COPIES = {"_to_copy", "copy_", "clone", "_foreach_copy_"}


def audit(names: tuple[str, ...]) -> list[list[str]]:
    """The operations of each pass of rows on device `meta`, where a read raises."""
    rows = []
    for name in names:
        row, _ = first_row(make_table(name, 6), 0, seeded())
        row.latents = row.latents.to("meta")
        rows.append(row)
    passes = []
    while rows:
        outputs = torch.empty((len(rows), *SHAPE[1:]), device="meta")
        with RecordOperations() as recorded:
            model_inputs(rows)
            advance(rows, outputs)
        passes.append(recorded.names)
        rows = [row for row in rows if not row.is_done]
    return passes


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_a_step_reads_nothing_from_the_device_and_copies_only_noise_to_it(name: str) -> None:
    draws = make_table(name, 6).draws_noise
    for operations, drawn in zip(audit((name,)), draws, strict=True):
        assert not READS & set(operations)
        assert sum(operation in COPIES for operation in operations) == drawn


def test_all_rows_share_their_operations_and_one_transfer_of_noise() -> None:
    for operations in audit(SCHEDULER_NAMES):
        sums = [operation for operation in operations if operation.startswith("_foreach")]
        assert len(sums) <= 8, "one of the inputs, and one for each summand of the longest sum"
        assert sum(operation in COPIES for operation in operations) <= 1
        assert not READS & set(operations)


# ---------------------------------------------------------------- extraction


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler(**BETAS, clip_sample=True),
        DDIMScheduler(**BETAS, clip_sample=True, clip_sample_range=100.0),
        DDIMScheduler(**BETAS, clip_sample=False, thresholding=True),
        HeunDiscreteScheduler(clip_sample=True),
        DPMSolverMultistepScheduler(thresholding=True),
        FlowMatchEulerDiscreteScheduler(),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_a_scheduler_that_is_not_linear_or_cannot_add_noise_has_no_table(scheduler: Any) -> None:
    scheduler.set_timesteps(5)

    assert coefficient_table(scheduler) is None


def test_a_table_is_kept_by_all_that_it_depends_on() -> None:
    def table(name: str = "ddim", steps: int = 7, kind: str = "epsilon", **options: Any) -> CoefficientTable | None:
        scheduler = make_scheduler(name, OWN[kind], "sd1")
        scheduler.set_timesteps(steps)
        return coefficient_table(scheduler, **options)

    assert table() is table()
    ddpm = make_scheduler("ddpm", OWN["epsilon"], "sd1")
    ddpm.set_timesteps(timesteps=[900, 500, 100])
    own_timesteps = coefficient_table(ddpm)
    ddpm.set_timesteps(timesteps=[900, 400, 100])

    assert coefficient_table(ddpm) is not own_timesteps
    others = [table(steps=8), table(kind="v_prediction"), table(begin=2), table(eta=0.5), table("euler"), table("euler_karras")]
    assert len({id(found) for found in [table(), *others]}) == 7


def test_the_scheduler_itself_is_not_changed() -> None:
    scheduler = make_scheduler("unipc", OWN["epsilon"], "sd1")
    scheduler.set_timesteps(5)
    before = copy.deepcopy(vars(scheduler))
    extract(scheduler, begin=2)

    assert repr(vars(scheduler)) == repr(before)


def test_other_threads_draw_their_own_noise_meanwhile() -> None:
    drawn = []
    with coefficients._InDoublePrecision(torch.zeros(1)):
        thread = threading.Thread(target=lambda: drawn.append(torch.randn(3, generator=seeded())))
        thread.start()
        thread.join()

    assert torch.equal(drawn[0], torch.randn(3, generator=seeded()))


def test_coefficients_are_the_formulas_of_papers() -> None:
    """DDIM: x' = √ā' · x0 + √(1 − ā') · ε with x0 = (x − √(1 − ā) · ε) / √ā."""
    scheduler = make_scheduler("ddim", OWN["epsilon"], "sd1")
    scheduler.set_timesteps(10)
    table = extract(scheduler)
    assert table is not None
    now, following = (float(scheduler.alphas_cumprod[int(timestep)]) for timestep in scheduler.timesteps[:2])
    factors = dict(table.step[0].latents)

    assert factors[LATENTS] == pytest.approx((following / now) ** 0.5, rel=1e-6)
    assert factors[1] == pytest.approx((1 - following) ** 0.5 - (following / now) ** 0.5 * (1 - now) ** 0.5, rel=1e-5)
    assert table.blend[0] == pytest.approx((following**0.5, (1 - following) ** 0.5), rel=1e-6)
    assert table.blend[-1] == (1.0, 0.0)
