"""Every form of adapter on every layer that it can change: what it adds, and that nothing is left of it."""

from __future__ import annotations

from collections.abc import Callable
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
from api.model_loader import ModelLoader
from tests.backends.lora_files import write
from tests.backends.lora_forms import FORM_MAKERS, RANK, draw, make_file, state_of, weight_of


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
