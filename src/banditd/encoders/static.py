"""The default encoder: mean of static token vectors, read from a sentence-transformers folder. No torch.

It computes what sentence-transformers' ``StaticEmbedding`` followed by ``Normalize`` computes on the same
folder (a test compares them), with two rules of its own: of a long prompt only the head and tail are read
(``features/window.py``), and a text without any token gets the vector of the unknown token instead of zero.
"""

from __future__ import annotations

import hashlib
import json
from math import sqrt
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from tokenizers import Tokenizer

from banditd.core.errors import ConfigurationError
from banditd.core.pace import SharedPace
from banditd.core.types import Float32Array, FloatArray
from banditd.encoders.wordpiece import WordPieces
from banditd.features.window import prompt_window

SHIPPED_FOLDER: Final = Path(__file__).resolve().parent.parent / "assets" / "encoder"
_HASH_CHARS: Final = 12
# 3,073 characters decompose into at most four code points each, so this bound is never met by a window.
_MAX_TOKENS: Final = 16_384


class StaticEncoder:
    """Text to unit vector in some ten microseconds, on the calling thread.

    Attributes
    ----------
    encoder_id : dimension and content hash: two encoders with one id give one vector for one text, wherever
        their folders lie.
    dimension : length of the vectors.
    """

    def __init__(self, *, weights: Float32Array, tokenizer: Tokenizer, content_hash: str) -> None:
        self.dimension = int(weights.shape[1])
        self.encoder_id = f"static-{self.dimension}@{content_hash[:_HASH_CHARS]}"
        self._weights = weights
        self._ones = np.ones(_MAX_TOKENS, dtype=np.float32)
        self._pieces = WordPieces(tokenizer)
        unknown = tokenizer.token_to_id("[UNK]")
        self._empty = [0 if unknown is None else int(unknown)]
        self._counted: tuple[str, int] = ("", 0)
        self._pace = SharedPace()

    def encode_now(self, text: str) -> FloatArray:
        """Vector of one text.

        Returns
        -------
        float64, shape (dimension,)
            Unit norm, finite for every text. Costs at most that of 3,073 characters.
        """
        ids = self._pieces.ids(prompt_window(text))
        self._counted = (text, len(ids))
        rows = self._weights.take(ids[:_MAX_TOKENS] if len(ids) else self._empty, axis=0)
        # A product with ones is the sum over tokens at a third of the price of a reduction over axis 0.
        total = (self._ones[: len(rows)] @ rows).astype(np.float64)
        norm = sqrt(np.vdot(total, total))
        if norm < 1e-12:  # only a folder with zero rows gets here
            total = np.zeros(self.dimension)
            total[0] = norm = 1.0
        total /= norm
        return total

    async def encode(self, text: str) -> FloatArray:
        """`encode_now` for the port: too quick to be worth a thread. Many at once leave turns to others."""
        if not self._pace.has_time():
            await self._pace.turn()
        started = perf_counter()
        try:
            return self.encode_now(text)
        finally:
            self._pace.spent(perf_counter() - started)

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`; of a long prompt extrapolated from its head and tail."""
        counted, tokens = self._counted
        part = prompt_window(text)
        if counted is not text:
            tokens = len(self._pieces.ids(part))
        if len(part) < len(text):
            return round(tokens * len(text) / len(part))
        return tokens

    async def close(self) -> None:
        """Nothing to release; here so that every encoder closes alike."""


def is_static_folder(path: Path) -> bool:
    """Whether `path` is a sentence-transformers folder that starts with a StaticEmbedding."""
    try:
        modules = json.loads((path / "modules.json").read_text(encoding="utf-8"))
        return str(modules[0]["type"]).rsplit(".", 1)[-1] == "StaticEmbedding"
    except (OSError, ValueError, LookupError, TypeError):
        return False


def load_static_encoder(path: Path | None = None) -> StaticEncoder:
    """Load the shipped encoder, or any sentence-transformers folder of a static model.

    Raises
    ------
    ConfigurationError
        The folder is missing, incomplete, or not a static model.
    """
    folder = SHIPPED_FOLDER if path is None else path
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        inner = folder / str(modules[0]["path"])
        tensors_bytes = (inner / "model.safetensors").read_bytes()
        tokenizer_bytes = (inner / "tokenizer.json").read_bytes()
        weights = _token_vectors(load_safetensors(tensors_bytes))
        tokenizer = Tokenizer.from_str(tokenizer_bytes.decode("utf-8"))
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise ConfigurationError(
            f"No static encoder can be read from {folder}: {error}. "
            "Run `banditd encoder build`, or name another model in encoder.model."
        ) from error
    if tokenizer.get_vocab_size() > len(weights):
        raise ConfigurationError(f"The tokenizer in {folder} knows more tokens than the weights have rows.")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    content = hashlib.sha256(tensors_bytes)
    content.update(tokenizer_bytes)
    return StaticEncoder(
        weights=weights,
        tokenizer=tokenizer,
        content_hash=content.hexdigest(),
    )


def _token_vectors(tensors: dict[str, np.ndarray]) -> Float32Array:
    """One float32 row per token, from either layout that sentence-transformers reads."""
    if "embedding.weight" in tensors:
        return np.ascontiguousarray(tensors["embedding.weight"], dtype=np.float32)
    rows = tensors["embeddings"]
    if "mapping" in tensors:
        rows = rows[tensors["mapping"].astype(np.intp)]
    rows = rows.astype(np.float32)
    if "weights" in tensors:
        rows *= tensors["weights"].astype(np.float32)[:, None]
    return np.ascontiguousarray(rows)
