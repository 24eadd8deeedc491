"""From configuration values to a running encoder. Reads no settings itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from banditd.encoders.pool import EncoderPool
from banditd.encoders.sentence import SentenceEncoder, load_sentence_encoder
from banditd.encoders.static import StaticEncoder, is_static_folder, load_static_encoder

SHIPPED: Final = "static"


def load_encoder(model: str) -> StaticEncoder | SentenceEncoder:
    """Load the encoder that :func:`open_encoder` would run, for blocking use (fitting feature maps).

    Raises
    ------
    ConfigurationError
        The model cannot be loaded.
    """
    if model == SHIPPED:
        return load_static_encoder()
    if is_static_folder(Path(model)):
        return load_static_encoder(Path(model))
    return load_sentence_encoder(model)


async def open_encoder(
    *, model: str = SHIPPED, threads: int = 2, queue_size: int = 64, deadline_s: float = 0.5
) -> StaticEncoder | EncoderPool:
    """Load and warm up an encoder; the caller closes it.

    Parameters
    ----------
    model : ``static`` for the shipped one, a folder, or any sentence-transformers name. A folder that holds
        a static model is run without torch and without threads.
    threads, queue_size, deadline_s : of the pool, for models that need one.

    Raises
    ------
    ConfigurationError
        The model cannot be loaded.
    """
    loaded = await asyncio.to_thread(load_encoder, model)
    if isinstance(loaded, StaticEncoder):
        loaded.encode_now("Awake?")
        return loaded
    pool = EncoderPool(loaded, threads=threads, queue_size=queue_size, deadline_s=deadline_s)
    await pool.open()
    return pool
