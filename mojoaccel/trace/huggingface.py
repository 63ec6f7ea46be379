"""Loads local Hugging Face folders: the module its config names, or the one a task asks for."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mojoaccel.errors import error
from mojoaccel.example import Example

DEFAULT_LENGTH = 512
"""Longest sequence of text models whose configuration names none."""


def load_example(path: Path, auto_class: str = "") -> Example:
    """Load a folder (config.json and safetensors) without any network.

    Args:
        path: The folder.
        auto_class: Class of transformers that loads it, such as
            ``AutoModelForTokenClassification``; the architecture that config.json names if empty.

    Returns:
        The module, called by position, giving a dict of its tensors; batch, and for text and
        waveforms length, are dynamic.

    Raises:
        MojoaccelError: MA201 no model folder, MA206 no example inputs are known, MA207 loading
            failed, MA209 transformers is missing.
    """
    if not (path / "config.json").exists():
        raise error("MA201", f"{path} has no config.json, so it is no Hugging Face model folder")
    try:
        import transformers
    except ModuleNotFoundError as e:
        raise error(
            "MA209",
            "a Hugging Face folder needs transformers and safetensors",
            hint="pip install 'mojoaccel[hf]'",
        ) from e
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    name = auto_class or (config.get("architectures") or [""])[0]
    kind = getattr(transformers, name, transformers.AutoModel)
    try:
        module = kind.from_pretrained(path, local_files_only=True).eval()
    except Exception as e:
        raise error("MA207", f"{name or 'the model'} cannot be loaded: {e}") from e
    if hasattr(module.config, "use_cache"):
        module.config.use_cache = False  # one call is one answer; nothing is continued
    types = bool(auto_class) and takes_token_types(module)
    args = example_inputs(module, path, token_types=types)
    return Example(
        keyword_model(module, tuple(args)),
        tuple(args.values()),
        dynamic=dynamic_dims(module, args),
        folder=path,
    )


class KeywordModel(torch.nn.Module):
    """A transformers model called by position, giving a plain dict of its tensors."""

    names: tuple[str, ...] = ()

    def __init__(self, model: torch.nn.Module) -> None:
        """Wrap `model`."""
        super().__init__()
        self.model = model

    def forward(self, *values: Any) -> dict[str, Any]:
        """Run the model on inputs in the order of `names`."""
        output = self.model(**dict(zip(self.names, values, strict=True)))
        return {k: v for k, v in output.items() if isinstance(v, torch.Tensor)}


def keyword_model(model: torch.nn.Module, names: tuple[str, ...]) -> KeywordModel:
    """Wrap a model whose inputs are called `names`.

    The wrapper is of a class of its own, as torch.export names a graph's inputs after the
    parameters of ``forward``.
    """

    def forward(self: KeywordModel, *values: Any) -> dict[str, Any]:
        return KeywordModel.forward(self, *values)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(n, kind) for n in ("self", *names)])
    forward.__signature__ = signature  # type: ignore[attr-defined]
    made = type("KeywordModel", (KeywordModel,), {"forward": forward, "names": names})
    return made(model)  # type: ignore[no-any-return]


def takes_token_types(module: Any) -> bool:
    """Whether a model tells the two texts of a pair apart by ``token_type_ids``."""
    kinds = getattr(module.config, "type_vocab_size", 0) or 0
    return kinds > 1 and "token_type_ids" in inspect.signature(module.forward).parameters


def example_inputs(module: Any, path: Path, *, token_types: bool) -> dict[str, Any]:
    """Return seeded example inputs for a transformers model, by name.

    Raises:
        MojoaccelError: MA206, none are known for the model's main input.
    """
    generator = torch.Generator().manual_seed(0)
    config = module.config
    name = module.main_input_name
    if name == "input_ids":
        ids = torch.randint(0, config.vocab_size, (2, 16), generator=generator)
        found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if token_types:
            found["token_type_ids"] = (torch.arange(16) >= 8).long().expand(2, 16).contiguous()
        return found
    if name == "pixel_values":
        size = getattr(config, "image_size", 224)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        shape = (2, getattr(config, "num_channels", 3), height, width)
        return {name: torch.randn(shape, generator=generator)}
    if name in ("input_values", "input_features"):
        return {name: torch.randn(sound_shape(config, path, name), generator=generator)}
    raise error("MA206", f"no example inputs are known for a model that takes {name}")


def is_waveform(config: Any) -> bool:
    """Whether a model of sound takes samples (and not spectra)."""
    return hasattr(config, "conv_stride")


def sound_shape(config: Any, path: Path, name: str) -> tuple[int, ...]:
    """Return the shape of example sound: one second of samples, or a spectrogram.

    Raises:
        MojoaccelError: MA206, the configuration does not say how large a spectrogram is.
    """
    if name == "input_values" and is_waveform(config):
        return (2, 16000)
    bins = getattr(config, "num_mel_bins", None)
    if name == "input_values" and bins and hasattr(config, "max_length"):  # AST
        return (2, config.max_length, bins)
    if bins and hasattr(config, "max_source_positions"):  # Whisper; its convolutions halve time
        return (2, bins, 2 * config.max_source_positions)
    raise error("MA206", f"{path.name}: config.json does not say how large {name} is")


def dynamic_dims(module: Any, args: Mapping[str, Any]) -> dict[str, dict[int, str]]:
    """Return the dims that vary: the batch, and the length of text and of waveforms."""
    axes = {0: "batch"}
    if "input_ids" in args:
        axes[1] = f"sequence:1..{longest_text(module)}"
    elif "input_values" in args and is_waveform(module.config):
        # The first steps of the convolutions need this many samples.
        axes[1] = f"samples:{shortest_sound(module.config)}..{2**22}"
    return dict.fromkeys(args, axes)


def longest_text(module: Any) -> int:
    """Return how many tokens a model's positions reach.

    RoBERTa and its kin number positions from behind the padding token's id.
    """
    limit = int(getattr(module.config, "max_position_embeddings", 0) or DEFAULT_LENGTH)
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and getattr(part, "padding_idx", None) is not None:
            return limit - int(part.padding_idx) - 1
    return limit


def shortest_sound(config: Any) -> int:
    """Return how many samples the feature encoder's convolutions need for two steps."""
    length = 2
    for kernel, stride in zip(
        reversed(config.conv_kernel), reversed(config.conv_stride), strict=True
    ):
        length = (length - 1) * stride + kernel
    return length
