"""The bodies that the benchmarks send: 60-token queries and embeddings, from the simulator's grammar."""

from __future__ import annotations

import json
import random

import numpy as np

from banditd.encoders.static import load_static_encoder
from banditd.simulate.families import draw

TOKENS = 60


def texts(count: int, seed: int = 0) -> list[str]:
    """Distinct prompts cut or filled to 60 tokens of the shipped encoder."""
    encoder, rng = load_static_encoder(), random.Random(seed)
    made: list[str] = []
    while len(made) < count:
        words = draw(rng).text.split()
        while encoder.count_tokens(" ".join(words)) < TOKENS:
            words += draw(rng).text.split()
        while encoder.count_tokens(" ".join(words)) > TOKENS:
            words.pop()
        made.append(" ".join(words))
    return made


def text_bodies(count: int = 2000) -> list[bytes]:
    return [json.dumps({"input": text}).encode() for text in texts(count)]


def embedding_bodies(count: int = 2000, seed: int = 0) -> list[bytes]:
    encoder = load_static_encoder()
    made = []
    for text in texts(min(count, 500), seed):
        vector = np.round(encoder.encode_now(text), 6)
        made.append(json.dumps({"embedding": vector.tolist()}).encode())
    return made
