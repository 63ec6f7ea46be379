"""A decoder with transformers' static cache, token by token, against PyTorch without a cache."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import mojoaccel

pytestmark = [pytest.mark.mojo, pytest.mark.slow]
TOKENS = 64
PROMPT = [5, 17, 3, 250]


@pytest.fixture(scope="module")
def llama():
    """A small Llama with random weights large enough for decided answers."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=500,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=128,
        max_position_embeddings=128,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    for weight in model.parameters():
        weight.requires_grad_(False)
        if weight.dim() > 1:
            weight.mul_(3.0)
    model.generation_config = transformers.GenerationConfig(
        use_cache=True,
        cache_implementation="static",
        max_length=96,
        cache_config={"batch_size": 1, "max_cache_len": 96},
    )
    return model


def greedy(model, count: int) -> list[int]:
    """Return the prompt and `count` tokens, computed anew for every token."""
    tokens = list(PROMPT)
    with torch.no_grad():
        for _ in range(count):
            logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits
            tokens.append(int(logits[0, -1].argmax()))
    return tokens


def test_greedy_tokens_are_pytorchs(llama) -> None:
    integration = pytest.importorskip("transformers.integrations.executorch")
    module = integration.TorchExportableModuleWithStaticCache(llama)
    inputs = {"input_ids": torch.tensor([[5]]), "cache_position": torch.tensor([0])}
    session = mojoaccel.compile(module, (), inputs)

    def step(token: int, place: int) -> int:
        where = torch.tensor([place])
        logits: Tensor = session(input_ids=torch.tensor([[token]]), cache_position=where)
        return int(logits[0, -1].argmax())

    expected = greedy(llama, TOKENS)
    for _ in range(2):
        session.reset()
        tokens = list(PROMPT)
        for place in range(len(PROMPT) + TOKENS - 1):
            following = step(tokens[place], place)
            if place == 20:
                saved = session.snapshot()
            if place >= len(PROMPT) - 1:
                tokens.append(following)
        assert tokens == expected
    session.restore(saved)
    assert step(tokens[21], 21) == tokens[22]
