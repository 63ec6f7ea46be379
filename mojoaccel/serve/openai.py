"""OpenAI's API: ``/v1/models`` and ``/v1/embeddings``.

Embeddings come from artifacts whose manifest describes the task and that carry a tokenizer.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import orjson

from mojoaccel.artifact.hashing import file_digest
from mojoaccel.serve.datatypes import Array
from mojoaccel.serve.refusal import Refusal, bad

if TYPE_CHECKING:
    from mojoaccel.serve.handler import Request, Response
    from mojoaccel.serve.model import ServedModel
    from mojoaccel.serve.service import Service

MAX_TEXTS = 2048
INLINE_CHARACTERS = 4000
"""Texts shorter than this in all are tokenized on the loop: a thread would take longer."""


class Embedder:
    """Turns texts into vectors with one model.

    Attributes:
        task: The manifest's description.
    """

    def __init__(self, model: ServedModel) -> None:
        """Read the tokenizer of an artifact.

        Raises:
            Refusal: The model embeds no text, or its tokenizer is damaged.
        """
        from tokenizers import Tokenizer

        task = self.task = model.manifest.task
        if task.get("kind") != "embedding":
            raise bad(f"model '{model.name}' does not embed text")
        place = Path(model.path) / task["tokenizer"]
        if not place.is_file() or file_digest(place) != task["tokenizer_digest"]:
            raise bad(f"the tokenizer of model '{model.name}' is missing or damaged")
        self.tokenizer: Any = Tokenizer.from_file(str(place))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(task["max_tokens"])

    async def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of texts."""
        if sum(map(len, texts)) <= INLINE_CHARACTERS:
            encoded = self.tokenizer.encode_batch(list(texts))
        else:
            encoded = await asyncio.to_thread(self.tokenizer.encode_batch, list(texts))
        return [e.ids for e in encoded]

    async def embed(
        self, service: Service, model: ServedModel, rows: Sequence[Sequence[int]]
    ) -> list[Array]:
        """Return a vector (float32) for every list of token ids."""
        limit = model.policy.rows or 1
        parts = [rows[i : i + limit] for i in range(0, len(rows), limit)]
        found = await asyncio.gather(*(self._embed_batch(service, model, p) for p in parts))
        return [vector for part in found for vector in part]

    async def _embed_batch(
        self, service: Service, model: ServedModel, rows: Sequence[Sequence[int]]
    ) -> Array:
        ids: Array = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
            mask[at, : len(row)] = 1
        values = {self.task["ids"]: ids, self.task["mask"]: mask}
        inputs = [values[n] for n in model.inputs]
        names = [p.spec.name for p in model.outputs]
        model.check_shapes(inputs)
        results = await service.run(model, inputs)
        return self.pool(results[names.index(self.task["output"])], mask)

    def pool(self, states: Array, mask: Array) -> Array:
        """Return one vector a text, [batch, width], from the model's output."""
        if self.task["pooling"] == "mean":  # states: [batch, sequence, width]
            weights = mask[..., None].astype(np.float32)
            states = (states * weights).sum(1) / np.maximum(weights.sum(1), 1e-9)
        elif self.task["pooling"] == "cls":
            states = states[:, 0]
        vectors = states.astype(np.float32)
        if self.task["normalize"]:
            norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
            vectors = vectors / np.maximum(norms, 1e-12)
        return vectors


class OpenAI:
    """Answers the paths below ``/v1/``."""

    def __init__(self, service: Service) -> None:
        """Answer for a service."""
        self.service = service
        self._embedders: WeakKeyDictionary[ServedModel, Embedder] = WeakKeyDictionary()

    async def answer(self, request: Request, path: str) -> Response:
        """Answer a request.

        Raises:
            Refusal: It cannot be served.
        """
        from mojoaccel.serve.handler import json_response

        if path == "models" and request.method == "GET":
            models = {m.name for m in self.service.repository.loaded()}
            return json_response(
                {"object": "list", "data": [_model_entry(n) for n in sorted(models)]}
            )
        if path.startswith("models/") and request.method == "GET":
            return json_response(_model_entry(self._find(path.removeprefix("models/")).name))
        if path == "embeddings" and request.method == "POST":
            return json_response(await self._embeddings(request))
        if path in ("completions", "chat/completions"):
            raise Refusal(404, "no model of this server generates text")
        raise Refusal(404, f"there is nothing at {request.path} for {request.method}")

    def _find(self, name: str) -> ServedModel:
        try:
            return self.service.repository.find(name)
        except Refusal as e:
            raise Refusal(404, f"the model '{name}' does not exist") from e

    async def _embeddings(self, request: Request) -> dict[str, Any]:
        data = _object(request.body)
        name, form = data.get("model"), data.get("encoding_format", "float")
        if not isinstance(name, str):
            raise bad("'model' must be a string")
        if form not in ("float", "base64"):
            raise bad(f"'encoding_format' must be 'float' or 'base64', got {form!r}")
        model = self._find(name)
        embedder = self._embedders.get(model)
        if embedder is None:
            embedder = self._embedders[model] = Embedder(model)
        rows = await self._rows(embedder, data.get("input"))
        vectors = await embedder.embed(self.service, model, rows)
        if data.get("dimensions") not in (None, vectors[0].shape[0]):
            raise bad(f"'dimensions' must be {vectors[0].shape[0]} for this model")
        tokens = sum(map(len, rows))
        entries = [
            {"object": "embedding", "index": i, "embedding": _print_vector(v, form)}
            for i, v in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": entries, "model": name, "usage": usage}

    @staticmethod
    async def _rows(embedder: Embedder, given: Any) -> Sequence[Sequence[int]]:
        """Return token ids for a text, texts, token ids, or lists of those."""
        if isinstance(given, str):
            given = [given]
        if not isinstance(given, list) or not given:
            raise bad("'input' must be a string, or a list that is not empty")
        if len(given) > MAX_TEXTS and not _is_tokens(given):
            raise bad(f"'input' may have {MAX_TEXTS} texts, got {len(given)}")
        if all(isinstance(t, str) for t in given):
            if not all(given):
                raise bad("'input' must not contain an empty string")
            return await embedder.tokens(given)
        rows = [given] if _is_tokens(given) else given
        if not all(isinstance(r, list) and r and _is_tokens(r) for r in rows):
            raise bad("'input' must hold strings, or lists of token ids")
        size, limit = embedder.tokenizer.get_vocab_size(), embedder.task["max_tokens"]
        if any(not 0 <= t < size for r in rows for t in r):
            raise bad(f"token ids must be 0 to {size - 1}")
        if any(len(r) > limit for r in rows):
            raise bad(f"'input' may have {limit} tokens a text")
        return rows


def _is_tokens(values: list[Any]) -> bool:
    return all(type(v) is int for v in values)


def _object(body: bytes | bytearray) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise bad(f"the request is not valid JSON: {e}") from e
    if not isinstance(data, dict):
        raise bad("the request must be a JSON object")
    return data


def _print_vector(vector: Array, form: str) -> Any:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return np.ascontiguousarray(vector)


def _model_entry(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "mojoaccel"}
