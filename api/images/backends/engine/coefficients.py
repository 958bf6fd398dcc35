"""diffusers' schedulers as tables of coefficients, so that rows of different schedulers advance together.  [torch; no Django]

Each scheduler of noise-predicting models is linear: the next latents are a sum of the latents, the model's output, the noise drawn
at this pass and tensors that the scheduler remembers from earlier passes (derivatives, predicted pictures, the sample of a first
half-step), each times a number that depends on the configuration and the pass alone. No formula is written again here: diffusers'
own object runs once on unit vectors in fp64, and the numbers are read off what it answers and remembers. table_steps.py uses them.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import LMSDiscreteScheduler
from torch.overrides import TorchFunctionMode

LATENTS, OUTPUT, NOISE, MEMORY = 0, 1, 2, 3
"""Sources of a combination. `MEMORY + k` is the k-th tensor that the pass before remembered."""

Combination = tuple[tuple[int, float], ...]
"""A sum of sources, each times its coefficient: `((LATENTS, 1.0), (OUTPUT, -0.1))`. Never empty."""

_MOST_REMEMBERED = 8
_PROBES = 8
_PROBE_SIZE = 1e4
"""Far beyond any limit that a scheduler clips to."""
_ROUNDING = 1e-10
"""What a sum in fp64 may be off by, relative to its summands; what is cast to fp32 or clipped is off by more."""
_NEGLIGIBLE = 1e-12
"""A coefficient, relative to the largest: what a difference of equal numbers leaves."""


@dataclass(frozen=True)
class PassCoefficients:
    """What one pass makes of its sources."""

    latents: Combination
    """The next latents."""
    memory: tuple[Combination, ...]
    """What later passes read; it replaces what the pass before remembered."""


@dataclass(frozen=True)
class CoefficientTable:
    """A scheduler with its timesteps set, from its first pass on. Nothing in it changes, so rows share it.

    Passes aren't steps: heun and dpm2 make two of most steps, pndm one more than steps.
    """

    timesteps: torch.Tensor
    """(passes,) in fp32 on the CPU."""
    init_noise_sigma: float
    """Pure noise times this is where sampling from noise begins."""
    start: tuple[float, float]
    """(a, b): a · source + b · noise is where image-to-image begins."""
    input_scale: tuple[float, ...]
    """The model is given the latents times this."""
    draws_noise: tuple[bool, ...]
    """Whether this pass draws from the row's generator, even if the noise's coefficient is 0."""
    step: tuple[PassCoefficients, ...]
    blend: tuple[tuple[float, float], ...]
    """(a, b): a · source + b · noise is the source as noisy as the latents are after this pass, for what inpainting keeps."""

    @property
    def passes(self) -> int:
        return len(self.step)

    @property
    def most_remembered(self) -> int:
        """Tensors of the latents' size that a row holds beside its latents, at the most."""
        return max(len(step.memory) for step in self.step)


_tables: dict[bytes, CoefficientTable | None] = {}
_MOST_TABLES = 128


def coefficient_table(scheduler: Any, *, begin: int = 0, eta: float = 0.0) -> CoefficientTable | None:
    """The table of a fresh scheduler on which `set_timesteps` was called, with its tensors on the CPU; it isn't changed.

    `begin` passes are skipped, as image-to-image does. None where the scheduler isn't linear (it clips or thresholds samples, or
    draws noise its own way) or can't add noise: only the object itself can be used then. Kept by all that the scheduler holds.
    """
    key = _digest(scheduler, begin, eta)
    if key not in _tables:
        if len(_tables) >= _MOST_TABLES:
            _tables.pop(next(iter(_tables)))
        _tables[key] = extract(scheduler, begin=begin, eta=eta)
    return _tables[key]


def extract(scheduler: Any, *, begin: int = 0, eta: float = 0.0) -> CoefficientTable | None:
    """As `coefficient_table`, without keeping it. For 30 steps 10 to 80 ms."""
    if not hasattr(scheduler, "add_noise"):
        return None
    scheduler = copy.deepcopy(scheduler)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    try:
        return _read_table(_Probe(scheduler, eta), scheduler.timesteps[begin:])
    except _NotLinearError:
        return None


def _digest(scheduler: Any, begin: int, eta: float) -> bytes:
    found = hashlib.blake2b(f"{type(scheduler)} {begin} {eta}".encode())
    for name, value in sorted(vars(scheduler).items()):
        if isinstance(value, torch.Tensor):
            found.update(value.numpy().tobytes())
        elif not callable(value):
            found.update(f"{name} {value!r}".encode())
    return found.digest()


def _read_table(probe: _Probe, timesteps: torch.Tensor) -> CoefficientTable:
    start = probe.add_noise(timesteps[0])
    scales, draws, steps, blends = [], [], [], []
    for index, timestep in enumerate(timesteps):
        scales.append(probe.input_scale(timestep))
        drawn, step = probe.step(timestep)
        draws.append(drawn)
        steps.append(step)
        is_last = index + 1 == len(timesteps)
        blends.append((1.0, 0.0) if is_last else probe.add_noise(timesteps[index + 1]))
    return CoefficientTable(
        timesteps=timesteps.to("cpu", torch.float32),
        init_noise_sigma=float(probe.scheduler.init_noise_sigma),
        start=start,
        input_scale=tuple(scales),
        draws_noise=tuple(draws),
        step=_without_unread(steps),
        blend=tuple(blends),
    )


def _without_unread(steps: Sequence[PassCoefficients]) -> tuple[PassCoefficients, ...]:
    """The same latents, remembering only what a later pass reads: schedulers keep more, and keep it after the last pass."""
    kept: list[int] = []
    done: list[PassCoefficients] = []
    for step in reversed(steps):
        memory = [step.memory[index] for index in kept]
        kept = sorted({source - MEMORY for sums in (step.latents, *memory) for source, _ in sums if source >= MEMORY})
        places = {MEMORY + index: MEMORY + place for place, index in enumerate(kept)}
        latents, *memory = (
            tuple((places.get(source, source), factor) for source, factor in sums) for sums in (step.latents, *memory)
        )
        done.append(PassCoefficients(latents, tuple(memory)))
    return tuple(reversed(done))


# ---------------------------------------------------------------- diffusers' object on unit vectors


class _NotLinearError(Exception):
    """What the scheduler answers is no combination of its inputs."""


class _Probe:
    """A scheduler whose inputs and remembered tensors are unit vectors, followed by random numbers that prove what is read off.

    Its operations are elementwise, so each element of a tensor is an experiment of its own: in element k only source k is 1, which
    gives its coefficient; in the last ones all sources are random.
    """

    def __init__(self, scheduler: Any, eta: float) -> None:
        self.scheduler = scheduler
        if isinstance(scheduler, LMSDiscreteScheduler):
            scheduler.get_lms_coefficient = functools.partial(_lms_coefficient, scheduler)
        known = inspect.signature(scheduler.step).parameters
        self._arguments = {"eta": eta} if "eta" in known else {}
        sources = MEMORY + _MOST_REMEMBERED
        self._random = _PROBE_SIZE * np.random.default_rng(0).standard_normal((sources, _PROBES))
        self._sources = torch.from_numpy(np.concatenate([np.eye(sources), self._random], axis=1))

    def input_scale(self, timestep: torch.Tensor) -> float:
        factors = dict(self._combination(self.scheduler.scale_model_input(self._source(LATENTS), timestep)))
        if set(factors) != {LATENTS}:
            raise _NotLinearError
        return factors[LATENTS]

    def add_noise(self, timestep: torch.Tensor) -> tuple[float, float]:
        noisy = self.scheduler.add_noise(self._source(LATENTS), self._source(NOISE), timestep.reshape(1))
        factors = dict(self._combination(noisy))
        return factors.get(LATENTS, 0.0), factors.get(NOISE, 0.0)

    def step(self, timestep: torch.Tensor) -> tuple[bool, PassCoefficients]:
        """Whether noise is drawn, and the coefficients; what the scheduler remembers then is unit vectors for the next pass."""
        latents, output, noise = (self._source(source) for source in (LATENTS, OUTPUT, NOISE))
        with _InDoublePrecision(noise) as mode:
            following = self.scheduler.step(output, timestep, latents, **self._arguments, return_dict=False)[0]
        if mode.draws > 1:
            raise _NotLinearError
        places = list(_remembered(self.scheduler, latents.shape))
        memory = tuple(self._combination(holder[place]) for holder, place in places)
        for number, (holder, place) in enumerate(places):
            holder[place] = self._source(MEMORY + number)
        return mode.draws == 1, PassCoefficients(self._combination(following), memory)

    def _source(self, number: int) -> torch.Tensor:
        return self._sources[number].clone().reshape(1, -1, 1, 1)

    def _combination(self, answer: torch.Tensor) -> Combination:
        numbers = answer.flatten().numpy()
        factors, proof = numbers[:-_PROBES], numbers[-_PROBES:]
        sizes = np.abs(factors)
        errors = np.abs(proof - factors @ self._random)
        if not (errors <= _ROUNDING * (sizes @ np.abs(self._random))).all():  # so is a NaN no combination
            raise _NotLinearError
        read = np.flatnonzero(sizes > _NEGLIGIBLE * sizes.max())
        if not read.size:
            raise _NotLinearError
        return tuple((int(source), float(factors[source])) for source in read)


def _lms_coefficient(scheduler: LMSDiscreteScheduler, order: int, t: int, current_order: int) -> float:
    """Its own, with sigmas as numbers: scipy evaluates the integrand a hundred times, with tensors ten times as slowly."""
    numbers = copy.copy(scheduler)
    numbers.sigmas = scheduler.sigmas.double().numpy()
    return LMSDiscreteScheduler.get_lms_coefficient(numbers, order, t, current_order)


class _InDoublePrecision(TorchFunctionMode):
    """In this thread, schedulers draw `noise` and don't cast samples to fp32."""

    def __init__(self, noise: torch.Tensor) -> None:
        super().__init__()
        self._noise = noise
        self.draws = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.randn:
            self.draws += 1
            return self._noise
        if function is torch.Tensor.to and args[0].shape == self._noise.shape:
            return args[0]
        return function(*args, **kwargs)


def _remembered(scheduler: Any, shape: torch.Size) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of each tensor of the samples' shape: attributes, and entries of lists that are attributes."""
    attributes = vars(scheduler)
    for name, value in attributes.items():
        if isinstance(value, torch.Tensor) and value.shape == shape:
            yield attributes, name
        elif isinstance(value, list):
            yield from (
                (value, index) for index, entry in enumerate(value) if isinstance(entry, torch.Tensor) and entry.shape == shape
            )
