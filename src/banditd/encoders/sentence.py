"""Any sentence-transformers model as a blocking encoder. Threads and deadlines are in ``encoders/pool.py``."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, Final

import numpy as np

from banditd.core.errors import ConfigurationError, EncoderUnavailableError
from banditd.core.types import FloatArray
from banditd.features.window import prompt_window

_HASH_CHARS: Final = 12
_ATTEMPTS: Final = 5
_CHARS_PER_TOKEN: Final = 4.0  # of English in common vocabularies
_FOREIGN_CHARS_PER_TOKEN: Final = 1.5
_COUNTED_CHARS: Final = 1_000_000


class SentenceEncoder:
    """One loaded model; ``encode_now`` may be called from several threads.

    Attributes
    ----------
    encoder_id : name and hash of the weights: two encoders with one id give one vector for one text.
    dimension : length of the vectors.
    """

    def __init__(self, *, model: Any, name: str) -> None:
        self._model = model
        self.encoder_id = f"{name}@{_weights_hash(model)[:_HASH_CHARS]}"
        self.dimension = len(self.encode_now("dimension"))

    def encode_now(self, text: str) -> FloatArray:
        """Unit vector of one text, float64, shape (dimension,). Blocks for milliseconds.

        Raises
        ------
        EncoderUnavailableError
            The model gave zeros or something not finite.
        """
        vector = np.asarray(self._encode(_clean(text)), dtype=np.float64)
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm < 1e-12:
            raise EncoderUnavailableError("The encoder gave no usable vector.", code="ENCODER_FAILED")
        return vector / norm

    def _encode(self, text: str) -> object:
        # Fast tokenizers refuse a call while another thread changes their padding ("Already borrowed",
        # tokenizers #537). It lasts microseconds, so the call is made again.
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(_BorrowedError):
                return self._encode_once(text)
        return self._encode_once(text)

    def _encode_once(self, text: str) -> object:
        try:
            return self._model.encode(text, show_progress_bar=False, convert_to_numpy=True)
        except RuntimeError as error:
            if "Already borrowed" in str(error):
                raise _BorrowedError from error
            raise

    def count_tokens(self, text: str) -> int:
        """Estimate from lengths alone: running the model's tokenizer on the event loop would cost too much."""
        part = text[:_COUNTED_CHARS]
        ascii_chars = len(part) if part.isascii() else len(part.encode("ascii", "ignore"))
        foreign_chars = len(part) - ascii_chars
        tokens = ascii_chars / _CHARS_PER_TOKEN + foreign_chars / _FOREIGN_CHARS_PER_TOKEN
        return round(tokens * len(text) / max(1, len(part)))


class _BorrowedError(RuntimeError):
    pass


def load_sentence_encoder(model: str) -> SentenceEncoder:
    """Load a model by name or folder, with one intra-op thread per call.

    Raises
    ------
    ConfigurationError
        sentence-transformers is not installed, or the model cannot be loaded.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import torch  # noqa: PLC0415 - optional, and seconds to import
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"encoder.model {model!r} needs sentence-transformers: "
            "pip install 'banditd[sentence-transformers]', or set encoder.model to static."
        ) from error
    torch.set_num_threads(1)
    with contextlib.suppress(RuntimeError):  # it may be set only once in a process
        torch.set_num_interop_threads(1)
    try:
        loaded = SentenceTransformer(model)
        loaded.eval()
        return SentenceEncoder(model=loaded, name=_readable_name(model))
    except EncoderUnavailableError:
        raise
    except Exception as error:
        raise ConfigurationError(f"encoder.model {model!r} cannot be loaded: {error}") from error


def _readable_name(model: str) -> str:
    path = Path(model)
    return path.resolve().name if path.exists() else model.rsplit("/", 1)[-1]


def _clean(text: str) -> str:
    # Head and tail as for every encoder; a lone surrogate cannot reach a tokenizer.
    return prompt_window(text).encode("utf-8", "replace").decode("utf-8")


def _weights_hash(model: Any) -> str:
    import torch  # noqa: PLC0415

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}".encode())
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()
