"""What a Hugging Face folder says its model is for, as far as a server needs to know.

Sentence-transformers' files are read (modules.json, the pooling's config.json,
sentence_bert_config.json); a folder without them gets that package's defaults: mean pooling, no
normalization.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mojoaccel.artifact.hashing import file_digest

TOKENIZER = "tokenizer.json"
STATES = "last_hidden_state"
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


def embedding_task(
    folder: Path, inputs: Sequence[str], outputs: Sequence[str]
) -> dict[str, Any] | None:
    """Describe a model that embeds text; None if it does not, or its pooling has no meaning here.

    Args:
        folder: The Hugging Face folder.
        inputs: Names of the artifact's inputs.
        outputs: Names of its outputs.
    """
    tokenizer = folder / TOKENIZER
    if not tokenizer.is_file() or STATES not in outputs:
        return None
    if tuple(inputs) != ("input_ids", "attention_mask"):
        return None
    pooling, normalize = _pooling(folder)
    if pooling is None:
        return None
    return {
        "kind": "embedding",
        "ids": "input_ids",
        "mask": "attention_mask",
        "output": STATES,
        "pooling": pooling,
        "normalize": normalize,
        "max_tokens": _max_tokens(folder),
        "tokenizer": TOKENIZER,
        "tokenizer_digest": file_digest(tokenizer),
    }


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _pooling(folder: Path) -> tuple[str | None, bool]:
    modules = _read(folder / "modules.json")
    if not modules:
        return "mean", False
    kinds = {m["type"].rsplit(".", 1)[-1]: m["path"] for m in modules}
    if not set(kinds) <= {"Transformer", "Pooling", "Normalize"}:
        return None, False
    settings = _read(folder / kinds.get("Pooling", "") / "config.json")
    chosen = [k for k, v in settings.items() if k.startswith("pooling_mode") and v is True]
    mode = settings.get("pooling_mode", "mean")  # newer versions name it
    found = _POOLINGS.get(chosen[0]) if len(chosen) == 1 else mode if not chosen else None
    return (found if found in ("mean", "cls") else None), "Normalize" in kinds


def _max_tokens(folder: Path) -> int:
    config, bert = _read(folder / "config.json"), _read(folder / "sentence_bert_config.json")
    limits = (bert.get("max_seq_length"), config.get("max_position_embeddings"))
    return min((int(n) for n in limits if n), default=512)
