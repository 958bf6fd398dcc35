"""Every form of adapter on every layer that it can change: what it adds, and that nothing is left of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload_with_hook

from api.errors import DarkroomError
from api.images.backends import adapters, lora_layers
from api.images.backends.adapters import apply_adapters, remove_adapters
from api.images.backends.lora_changes import Lora
from api.images.backends.lora_forms import FORMS
from api.images.backends.lora_keys import Layer, find_layers
from api.images.backends.lora_layers import LowRankLayer
from api.model_loader import ModelLoader
from tests.backends.lora_files import Tensors, kohya, write

ALPHA, RANK = 3.0, 2
Made = tuple[Tensors, Callable[[torch.Tensor], torch.Tensor]]
"""The tensors of a file for one layer by the ends of their names; and what the weight becomes, by a reading of its own."""


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape) * 0.3


def lora(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    down, up = draw(RANK, inputs, *kernel), draw(outputs, RANK, *(1 for _ in kernel))
    parts = {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(ALPHA)}
    return parts, lambda w: w + torch.einsum("or,ri...->oi...", up.flatten(1), down) * ALPHA / RANK


def locon_cp(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    ones = [1 for _ in kernel]
    down, mid, up = draw(RANK, inputs, *ones), draw(RANK, RANK, *kernel), draw(outputs, RANK, *ones)
    parts = {"lora_down.weight": down, "lora_up.weight": up, "lora_mid.weight": mid, "alpha": torch.tensor(ALPHA)}
    change = torch.einsum("om,mn...,ni->oi...", up.flatten(1), mid, down.flatten(1))
    return parts, lambda w: w + change * ALPHA / RANK


def dora(weight: torch.Tensor, *, per_output: bool = True) -> Made:
    parts, change = lora(weight)
    axes = [axis for axis in range(weight.ndim) if axis != (0 if per_output else 1)]
    magnitude = weight.pow(2).sum(dim=axes, keepdim=True).sqrt() * 1.3

    def decomposed(w: torch.Tensor) -> torch.Tensor:
        changed = change(w)
        return magnitude * changed / changed.pow(2).sum(dim=axes, keepdim=True).sqrt()

    return {**parts, "dora_scale": magnitude}, decomposed


def dora_per_input(weight: torch.Tensor) -> Made:
    return dora(weight, per_output=False)


def loha(weight: torch.Tensor) -> Made:
    outputs, columns = weight.flatten(1).shape
    a, b, c, d = draw(outputs, RANK), draw(RANK, columns), draw(outputs, RANK), draw(RANK, columns)
    parts = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": torch.tensor(ALPHA)}
    return parts, lambda w: w + ((a @ b) * (c @ d) * ALPHA / RANK).reshape(w.shape)


def loha_tucker(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    t1, a, b = draw(RANK, RANK, *kernel), draw(RANK, outputs), draw(RANK, inputs)
    t2, c, d = draw(RANK, RANK, *kernel), draw(RANK, outputs), draw(RANK, inputs)
    names = ("hada_t1", "hada_w1_a", "hada_w1_b", "hada_t2", "hada_w2_a", "hada_w2_b")
    parts = dict(zip(names, (t1, a, b, t2, c, d), strict=True))
    halves = [torch.einsum("io,ij...,jk->ok...", *one) for one in ((a, t1, b), (c, t2, d))]
    return {**parts, "alpha": torch.tensor(ALPHA)}, lambda w: w + halves[0] * halves[1] * ALPHA / RANK


def kronecker(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Block by block."""
    return torch.cat([torch.cat([value * second for value in row], dim=1) for row in first], dim=0)


def lokr(weight: torch.Tensor) -> Made:
    """Both factors whole: there is no scale, whatever alpha says."""
    outputs, inputs, *kernel = weight.shape
    first, second = draw(2, 2), draw(outputs // 2, inputs // 2, *kernel)
    return {"lokr_w1": first, "lokr_w2": second, "alpha": torch.tensor(ALPHA)}, lambda w: w + kronecker(first, second)


def lokr_factors(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    columns = weight[0].numel() // 2
    a, b, c, d = draw(2, RANK), draw(RANK, 2), draw(outputs // 2, RANK), draw(RANK, columns)
    parts = {"lokr_w1_a": a, "lokr_w1_b": b, "lokr_w2_a": c, "lokr_w2_b": d, "alpha": torch.tensor(ALPHA)}
    change = kronecker(a @ b, (c @ d).reshape(outputs // 2, inputs // 2, *kernel))
    return parts, lambda w: w + change * ALPHA / RANK


def lokr_tucker(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    first, core, a, b = draw(2, 2), draw(RANK, RANK, *kernel), draw(RANK, outputs // 2), draw(RANK, inputs // 2)
    parts = {"lokr_w1": first, "lokr_t2": core, "lokr_w2_a": a, "lokr_w2_b": b, "alpha": torch.tensor(ALPHA)}
    change = kronecker(first, torch.einsum("io,ij...,jk->ok...", a, core, b))
    return parts, lambda w: w + change * ALPHA / RANK


def full(weight: torch.Tensor) -> Made:
    change = draw(*weight.shape)
    return {"diff": change}, lambda w: w + change


def norm(weight: torch.Tensor) -> Made:
    change = draw(*weight.shape)
    return {"w_norm": change, "b_norm": draw(*weight.shape)}, lambda w: w + change


def ia3(weight: torch.Tensor) -> Made:
    values = draw(weight.shape[1])
    parts = {"weight": values, "on_input": torch.tensor(1)}
    return parts, lambda w: w * (1 + values.reshape(1, -1, *(1 for _ in w.shape[2:])))


def ia3_on_outputs(weight: torch.Tensor) -> Made:
    values = draw(weight.shape[0])
    parts = {"weight": values, "on_input": torch.tensor(0)}
    return parts, lambda w: w * (1 + values.reshape(-1, *(1 for _ in w.shape[1:])))


def glora(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    ones = [1 for _ in kernel]
    a1, a2 = draw(inputs, RANK, *ones), draw(RANK, inputs, *ones)
    b1, b2 = draw(outputs, RANK, *ones), draw(RANK, inputs, *kernel)
    parts = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2, "alpha": torch.tensor(ALPHA)}
    inner = a1.flatten(1) @ a2.flatten(1)

    def changed(w: torch.Tensor) -> torch.Tensor:
        mixed = torch.tensordot(w, inner, dims=([1], [0])).movedim(-1, 1)
        return w + (mixed + torch.einsum("or,ri...->oi...", b1.flatten(1), b2)) * ALPHA / RANK

    return parts, changed


def cayley(block: torch.Tensor) -> torch.Tensor:
    skew, identity = block - block.T, torch.eye(len(block))
    return torch.linalg.solve(identity - skew, identity + skew)


def oft(weight: torch.Tensor) -> Made:
    outputs = weight.shape[0]
    blocks = draw(outputs // 4, 4, 4)
    rotation = torch.block_diag(*(cayley(block) for block in blocks)).T
    rescale = 1 + draw(outputs, *(1 for _ in weight.shape[1:]))
    parts = {"oft_blocks": blocks, "alpha": torch.tensor(0.0), "rescale": rescale}
    return parts, lambda w: rescale * (rotation @ w.flatten(1)).reshape(w.shape)


def oft_constrained(weight: torch.Tensor) -> Made:
    outputs = weight.shape[0]
    blocks = draw(outputs // 4, 4, 4) * 100
    limit = 1e-3 * outputs
    shrunk = blocks * limit / (blocks - blocks.mT).norm()
    rotation = torch.block_diag(*(cayley(block) for block in shrunk)).T
    parts = {"oft_blocks": blocks, "alpha": torch.tensor(1e-3)}
    return parts, lambda w: (rotation @ w.flatten(1)).reshape(w.shape)


def boft(weight: torch.Tensor) -> Made:
    """Two stages of blocks of two: of neighbours, and of every second one in four."""
    outputs = weight.shape[0]
    blocks = draw(2, outputs // 2, 2, 2)
    near, far = (torch.block_diag(*(cayley(block) for block in stage)) for stage in blocks)
    order = torch.arange(outputs).reshape(-1, 2, 2).transpose(1, 2).flatten()
    swap = torch.eye(outputs)[order]
    parts = {"oft_blocks": blocks, "alpha": torch.tensor(0.0)}
    return parts, lambda w: (swap.T @ far @ swap @ near @ w.flatten(1)).reshape(w.shape)


FORM_MAKERS: dict[str, tuple[Callable[[torch.Tensor], Made], str]] = {
    "LoRA": (lora, "linear conv"),
    "LoCon, CP": (locon_cp, "conv"),
    "DoRA": (dora, "linear conv"),
    "DoRA by inputs": (dora_per_input, "linear conv"),
    "LoHa": (loha, "linear conv"),
    "LoHa, Tucker": (loha_tucker, "conv"),
    "LoKr": (lokr, "linear conv"),
    "LoKr of factors": (lokr_factors, "linear conv"),
    "LoKr, Tucker": (lokr_tucker, "conv"),
    "full": (full, "linear conv norm"),
    "norm": (norm, "norm"),
    "(IA)³": (ia3, "linear conv"),
    "(IA)³ on outputs": (ia3_on_outputs, "linear conv"),
    "GLoRA": (glora, "linear conv"),
    "OFT": (oft, "linear conv"),
    "OFT, constrained": (oft_constrained, "linear conv"),
    "BOFT": (boft, "linear conv"),
}


def kind_of(layer: Layer) -> str:
    return {1: "norm", 2: "linear", 4: "conv"}[len(layer.shape)]


def has_room(layer: Layer) -> bool:
    """conv_in and conv_out have four channels, and the tiny text encoder a prime width: too few for factors and blocks."""
    return all(size % 8 == 0 for size in layer.shape[:2])


def weight_of(pipeline: Any, layer: Layer) -> torch.Tensor:
    """What acts: the weight, and the product beside it."""
    component, _, path = layer.name.partition(".")
    module = getattr(pipeline, component).get_submodule(path)
    weight = module.weight.detach().clone()
    if isinstance(module, LowRankLayer):
        weight += torch.einsum("or,ri...->oi...", module.up.flatten(1), module.down)
    return weight


def make_file(
    path: Path, pipeline: Any, form: str, *, prefix: str = ""
) -> tuple[Path, dict[Layer, Callable[[torch.Tensor], torch.Tensor]]]:
    torch.manual_seed(3)
    make, kinds = FORM_MAKERS[form]
    tensors: Tensors = {}
    expected = {}
    is_xl = hasattr(pipeline, "text_encoder_2")
    for layer in sorted(set(find_layers(pipeline).values()), key=lambda layer: layer.name):
        if kind_of(layer) in kinds.split() and has_room(layer) and layer.name.startswith(prefix):
            parts, expected[layer] = make(weight_of(pipeline, layer))
            tensors |= {f"{kohya(layer.name, xl=is_xl)}.{end}": tensor for end, tensor in parts.items()}
    return write(path / f"{re.sub(r'[^a-z]', '', form.lower())}.safetensors", tensors), expected


def state_of(pipeline: Any) -> dict[str, bytes]:
    modules = {name: getattr(pipeline, name, None) for name in ("unet", "text_encoder", "text_encoder_2")}
    return {
        f"{name}.{key}": tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        for name, module in modules.items()
        if module is not None
        for key, tensor in module.state_dict().items()
    }


@pytest.fixture(params=["sd1", "sdxl"])
def pipeline(request: pytest.FixtureRequest, loader: ModelLoader) -> Iterator[Any]:
    with loader.use(request.param, "text-to-image") as lease:
        remove_adapters(lease.pipeline)
        yield lease.pipeline
        remove_adapters(lease.pipeline)


def test_every_form_has_a_maker_here() -> None:
    made = {form.removesuffix(" of factors").partition(",")[0].partition(" ")[0] for form in FORM_MAKERS}

    assert {form.name for form in FORMS} <= made


@pytest.mark.parametrize("form", FORM_MAKERS)
def test_each_layer_is_changed_as_the_form_says_and_put_back_bit_for_bit(pipeline: Any, tmp_path: Path, form: str) -> None:
    before = state_of(pipeline)
    file, expected = make_file(tmp_path, pipeline, form)
    originals = {layer: weight_of(pipeline, layer) for layer in expected}

    assert apply_adapters(pipeline, [Lora("mine", file, 1.0)]) == []

    assert len(expected) > 3
    for layer, changed in expected.items():
        found, wanted = weight_of(pipeline, layer), changed(originals[layer])
        assert not torch.allclose(wanted, originals[layer])
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5, msg=lambda text, layer=layer: f"{layer.name}: {text}")
    remove_adapters(pipeline)
    assert state_of(pipeline) == before


@pytest.mark.parametrize("form", FORM_MAKERS)
def test_a_strength_multiplies_the_change(sd1: Any, tmp_path: Path, form: str) -> None:
    file, expected = make_file(tmp_path, sd1, form, prefix="unet.mid_block")
    originals = {layer: weight_of(sd1, layer) for layer in expected}

    apply_adapters(sd1, [Lora("mine", file, -0.5)])

    for layer, changed in expected.items():
        wanted = originals[layer] - 0.5 * (changed(originals[layer]) - originals[layer])
        torch.testing.assert_close(weight_of(sd1, layer), wanted, rtol=1e-5, atol=1e-5)


def test_adapters_of_several_forms_add_up_in_any_order(sd1: Any, tmp_path: Path) -> None:
    made = [make_file(tmp_path, sd1, form, prefix="unet.mid_block.attentions") for form in ("DoRA", "LoRA", "OFT")]
    layers = set.intersection(*(set(expected) for _, expected in made))
    originals = {layer: weight_of(sd1, layer) for layer in layers}
    loras = [Lora(file.stem, file, 0.5) for file, _ in made]

    for order in (loras, loras[::-1]):
        apply_adapters(sd1, order)
        for layer in layers:
            changes = [expected[layer](originals[layer]) - originals[layer] for _, expected in made]
            torch.testing.assert_close(weight_of(sd1, layer), originals[layer] + 0.5 * sum(changes), rtol=1e-5, atol=1e-5)


def test_biases_of_layers_and_norms_are_changed_and_put_back(sd1: Any, tmp_path: Path) -> None:
    before = state_of(sd1)
    change, of_norm = torch.full((4,), 0.25), torch.full((16,), 0.5)
    tensors = {"lora_unet_conv_out.diff_b": change, "lora_unet_conv_norm_out.b_norm": of_norm}
    file = write(tmp_path / "biases.safetensors", tensors)
    biases = [sd1.unet.conv_out.bias.clone(), sd1.unet.conv_norm_out.bias.clone()]

    assert apply_adapters(sd1, [Lora("mine", file, 2.0)]) == []

    assert torch.equal(sd1.unet.conv_out.bias, biases[0] + 0.5)
    assert torch.equal(sd1.unet.conv_norm_out.bias, biases[1] + 1.0)
    remove_adapters(sd1)
    assert state_of(sd1) == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_change_is_rounded_once_to_the_dtype_of_the_weights(
    make_loader: Callable[[torch.dtype], ModelLoader], tmp_path: Path, dtype: torch.dtype
) -> None:
    with make_loader(dtype).use("sd1", "text-to-image") as lease:
        pipeline = lease.pipeline
        before = state_of(pipeline)
        file, expected = make_file(tmp_path, pipeline, "full", prefix="unet")
        originals = {layer: weight_of(pipeline, layer) for layer in expected}
        dtypes = {tensor.dtype for tensor in originals.values()}
        apply_adapters(pipeline, [Lora("mine", file, 1.0)])
        found = {layer: weight_of(pipeline, layer) for layer in expected}
        remove_adapters(pipeline)

        assert dtypes == {dtype}
        assert all(
            torch.equal(found[layer], changed(originals[layer].float()).to(dtype)) for layer, changed in expected.items()
        )
        assert state_of(pipeline) == before


# -- What goes wrong on the way ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["LoRA", "LoKr", "full"])
@pytest.mark.parametrize("step", [1, 7])
def test_a_failure_half_way_leaves_no_trace(
    sd1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, step: int
) -> None:
    before = state_of(sd1)
    file, _ = make_file(tmp_path, sd1, form)
    done, change_layer = [], adapters.change_layer

    def fail(*args: Any) -> None:
        change_layer(*args)
        done.append(args)
        if len(done) == step:
            raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(adapters, "change_layer", fail)
    with pytest.raises(torch.OutOfMemoryError):
        apply_adapters(sd1, [Lora("mine", file, 1.0)])

    assert state_of(sd1) == before
    assert adapters.adapters_on(sd1.unet) is None


def test_weights_that_were_moved_to_other_memory_meanwhile_are_put_back_where_they_are(sd1: Any, tmp_path: Path) -> None:
    """As offloading does: each parameter stays the same object, its tensor is another one."""
    before = state_of(sd1)
    file, _ = make_file(tmp_path, sd1, "LoKr")
    apply_adapters(sd1, [Lora("mine", file, 1.0)])
    for parameter in sd1.unet.parameters():
        parameter.data = parameter.data.clone()

    remove_adapters(sd1)

    assert state_of(sd1) == before


def test_a_model_that_is_offloaded_between_its_calls_is_changed_and_put_back(sd1: Any, tmp_path: Path) -> None:
    before = state_of(sd1)
    files = [make_file(tmp_path, sd1, form)[0] for form in ("LoRA", "DoRA")]
    inputs = {"sample": torch.ones(1, 4, 8, 8), "timestep": 5, "encoder_hidden_states": torch.ones(1, 7, 32)}
    with torch.no_grad():
        apply_adapters(sd1, [Lora(file.stem, file, 1.0) for file in files])
        plain = sd1.unet(**inputs).sample
        remove_adapters(sd1)
        _, hook = cpu_offload_with_hook(sd1.unet, "cpu")
        apply_adapters(sd1, [Lora(file.stem, file, 1.0) for file in files])
        offloaded = sd1.unet(**inputs).sample
        hook.offload()
    remove_adapters(sd1)
    hook.remove()

    assert torch.equal(plain, offloaded)
    assert state_of(sd1) == before


def test_a_quantised_weight_is_refused_for_a_form_that_changes_it(sd1: Any, tmp_path: Path) -> None:
    before = state_of(sd1)
    file, _ = make_file(tmp_path, sd1, "LoKr", prefix="unet.mid_block")
    layer = sd1.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
    weight = layer.weight
    layer.weight = torch.nn.Parameter(torch.zeros(8, dtype=torch.uint8), requires_grad=False)

    with pytest.raises(DarkroomError, match="quantised") as raised:
        apply_adapters(sd1, [Lora("mine", file, 1.0)])

    layer.weight = weight
    assert (raised.value.status, raised.value.field) == (400, "loras")
    assert state_of(sd1) == before


@pytest.mark.parametrize(
    ("form", "key", "shape"),
    [
        ("LoHa", "hada_w1_a", (6, RANK)),
        ("LoKr", "lokr_w2", (3, 4)),
        ("OFT", "oft_blocks", (5, 4, 4)),
        ("full", "diff", (7, 7)),
        ("(IA)³", "weight", (5,)),
        ("DoRA", "dora_scale", (5, 1)),
        ("GLoRA", "a1.weight", (9, RANK)),
    ],
)
def test_parts_of_another_width_are_a_400_that_names_the_key(
    sd1: Any, tmp_path: Path, form: str, key: str, shape: tuple[int, ...]
) -> None:
    make, _ = FORM_MAKERS[form]
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    weight = sd1.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_k.weight.detach()
    parts = {**make(weight)[0], key: torch.ones(shape)}
    file = write(tmp_path / "lora.safetensors", {f"{name}.{end}": tensor for end, tensor in parts.items()})

    with pytest.raises(DarkroomError, match=f"{name}.*32×32") as raised:
        apply_adapters(sd1, [Lora("mine", file, 1.0)])

    assert (raised.value.code, raised.value.status) == ("lora_mismatch", 400)


def test_a_product_beside_a_layer_gives_what_a_changed_weight_would() -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(6, 10), torch.nn.Conv2d(6, 10, 3, stride=2, padding=1)]
    inputs = [torch.randn(2, 5, 6), torch.randn(2, 6, 9, 9)]
    for layer, values in zip(layers, inputs, strict=True):
        kernel = layer.weight.shape[2:]
        down, up = draw(RANK, 6, *kernel), draw(10, RANK, *(1 for _ in kernel))
        wrapped = lora_layers.LowRankLayer(layer, down, up)(values)
        with torch.no_grad():
            layer.weight += torch.einsum("or,ri...->oi...", up.flatten(1), down)

        torch.testing.assert_close(wrapped, layer(values))
