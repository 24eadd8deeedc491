"""Prompts to contexts with the shipped encoder: what the daemon would have seen. Computed once per replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from banditd.core.types import Context, FeatureSchema
from banditd.encoders.static import SHIPPED_FOLDER, load_static_encoder
from banditd.features.context import ContextBuilder
from banditd.features.maps import load_feature_maps

_BATCH = 1_000  # prompts between two reports of progress


def build_contexts(
    prompts: Sequence[str],
    *,
    with_facts: bool,
    context_tags: tuple[str, ...] = (),
    tags: Sequence[Mapping[str, str]] = (),
    progress: Callable[[int], None] = lambda _rows: None,
) -> tuple[FeatureSchema, list[Context]]:
    """The schema and one context per prompt.

    with_facts : keep the raw scalars (only ``rules`` policies read them, and they are bulky to send about).
    context_tags : tags that are features, ``tags`` those of every prompt; values have their columns by first place.
    progress : is told now and then how many are made.
    """
    encoder = load_static_encoder()
    builder = ContextBuilder(
        encoder_id=encoder.encoder_id, maps=load_feature_maps(SHIPPED_FOLDER), context_tags=context_tags
    )
    builder.tag_columns.give((tag, row[tag]) for row in tags for tag in context_tags if tag in row)
    contexts = []
    for i, prompt in enumerate(prompts):
        contexts.append(
            builder.build(text=prompt, embedding=encoder.encode_now(prompt), tags=tags[i] if tags else None)
        )
        if i % _BATCH == _BATCH - 1:
            progress(i + 1)
    if not with_facts:
        contexts = [replace(context, facts={}) for context in contexts]
    return builder.schema, contexts
