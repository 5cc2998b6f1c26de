"""The cascade in diffusers' UNet: the order of the layers, and what cannot be served."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from peft import LoraConfig
from torch import Tensor, nn

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Rows, Timetable, Values
from lib_ebca.hosts.patch import replaced
from lib_ebca.hosts.unet import cross_attention_layers, installed
from tests.tiny_attention import noise
from tests.tiny_pipe import unet as tiny_unet

UPDATE = Values(0.2, 0.4)


def predict(unet: UNet2DConditionModel, cascade: Cascade | None = None, inside: Any = None) -> tuple[Tensor, list[str]]:
    """What the UNet says to a guided picture, and what was told meanwhile."""
    told: list[str] = []
    sample, context = noise(2, 4, 8, 6, seed=1).float(), noise(2, 5, 32, seed=2).float()
    if cascade is not None:
        cascade.begin(Rows.guided(1), (8, 6))
    with installed(unet, lambda: cascade, told.append), torch.no_grad():
        if inside is not None:
            inside()
        return unet(sample, torch.tensor(500), context).sample, told


def passing(values: Values = UPDATE, picture: Picture | None = None) -> Cascade:
    """A pass of one picture."""
    return Cascade([Picture() if picture is None else picture], [Timetable((values,))])


def test_the_layers_come_in_the_order_in_which_they_run() -> None:
    unet = tiny_unet(layers_per_block=2, transformer_layers_per_block=2)
    layers = cross_attention_layers(unet)
    ran: list[nn.Module] = []
    for _, module in layers:
        module.register_forward_pre_hook(lambda module, args: ran.append(module))
    predict(unet)
    assert len(layers) == 2 * 2 + 2 + 3 * 2
    assert ran == [module for _, module in layers]
    assert layers[0][0] == "down_blocks.0.attentions.0.transformer_blocks.0.attn2"


def test_installed_without_a_cascade_is_the_model_itself() -> None:
    unet = tiny_unet()
    with torch.no_grad():
        stock = unet(noise(2, 4, 8, 6, seed=1).float(), torch.tensor(500), noise(2, 5, 32, seed=2).float()).sample
    assert torch.equal(predict(unet)[0], stock)
    assert torch.equal(predict(unet, passing(Values()))[0], stock)
    assert not torch.allclose(predict(unet, passing())[0], stock, atol=1e-4)


def test_a_lora_loaded_meanwhile_counts() -> None:
    """Its layers take the place of the projections: the ones found at the beginning are not the model's any more."""
    settings = LoraConfig(r=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"], init_lora_weights=False)

    def with_adapter(unet: UNet2DConditionModel) -> None:
        torch.manual_seed(5)
        unet.add_adapter(settings)

    before, meanwhile = tiny_unet(), tiny_unet()
    with_adapter(before)
    expected, _ = predict(before, passing())
    found, _ = predict(meanwhile, passing(), lambda: with_adapter(meanwhile))
    assert torch.equal(found, expected)
    assert not torch.allclose(found, predict(tiny_unet(), passing())[0], atol=1e-3)


def test_keys_that_are_not_linear_pass_through_and_are_told_of_once_each() -> None:
    class Bent(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).tanh()

    unet = tiny_unet()
    for _, module in cross_attention_layers(unet):
        bent = Bent(32, module.inner_dim, bias=False)
        bent.load_state_dict(module.to_k.state_dict())
        module.to_k = bent
    stock, _ = predict(unet)
    found, told = predict(unet, passing())
    torch.testing.assert_close(found, stock, rtol=0, atol=1e-6)
    reason = "Bent is not a linear map, so its step cannot be taken back to the context"
    assert set(told) == {f"EBCA was not applied in some layers: {reason}."}


def test_a_mask_over_layers_of_unknown_size_passes_through() -> None:
    unet = tiny_unet()
    cascade = passing(picture=Picture(mask=torch.ones(4, 4)))
    stock, _ = predict(unet)
    with replaced(cascade, "begin", lambda rows, size: Cascade.begin(cascade, rows, (5, 5))):
        found, told = predict(unet, cascade)
    torch.testing.assert_close(found, stock, rtol=0, atol=1e-6)
    assert {sentence.partition(": ")[2].split()[0] for sentence in told} == {"a"}
    assert "does not come from halving a latent of 5 x 5" in told[0]


def test_a_unet_without_a_middle() -> None:
    unet = tiny_unet(mid_block_type=None)
    assert [name.partition(".")[0] for name, _ in cross_attention_layers(unet)] == ["down_blocks", *["up_blocks"] * 2]
    assert not torch.allclose(predict(unet, passing())[0], predict(unet)[0], atol=1e-4)


def test_a_unet_without_cross_attention_is_told_of() -> None:
    unet = tiny_unet(
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"), mid_block_type=None
    )
    assert cross_attention_layers(unet) == []
    _, told = predict(unet, passing())
    assert told == ["EBCA was not applied: the UNet has no cross-attention whose keys are a linear map of the prompt."]


def test_layers_that_normalise_the_context_are_left_out() -> None:
    unet = tiny_unet()
    served = cross_attention_layers(unet)
    served[0][1].norm_cross = nn.LayerNorm(32)
    assert cross_attention_layers(unet) == served[1:]


def test_a_processor_that_computes_in_float32_is_called_itself() -> None:
    called: list[Attention] = []

    def watch(module: Attention) -> None:
        scores = module.get_attention_scores

        def watched(*states: Any) -> Tensor:
            called.append(module)
            return scores(*states)

        vars(module)["get_attention_scores"] = watched

    unet = tiny_unet(upcast_attention=True)
    unet.set_attn_processor(AttnProcessor())
    layers = [module for _, module in cross_attention_layers(unet)]
    for module in layers:
        watch(module)
    predict(unet, passing())
    assert called == layers


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_what_was_shadowed_is_the_very_object_again(error: type[BaseException] | None) -> None:
    class Owner:
        def told(self) -> str:
            return "class"

    fresh, patched = Owner(), Owner()
    mine = vars(patched)["told"] = lambda: "mine"
    for owner in (fresh, patched):
        try:
            with replaced(owner, "told", lambda: "ours"):
                assert owner.told() == "ours"
                del owner.told
                if error is not None:
                    raise error
        except KeyboardInterrupt:
            pass
    assert vars(fresh) == {}
    assert vars(patched) == {"told": mine}
