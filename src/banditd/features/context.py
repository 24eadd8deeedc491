"""Embedding, scalars and caller features to the context vector x. Not an encoder, and nothing is fitted here.

x = bias | lexical scalars | whitened principal components | one-hot of the cluster | caller features.
Every group is scaled to be O(1) as a whole (its columns by one over the root of their number), so that one
prior scale per group means the same for each; the learner tunes those scales by evidence.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from banditd.core.errors import ConfigurationError, EmbeddingShapeError, InvalidInputError
from banditd.core.types import Context, FeatureGroup, FeatureSchema, FloatArray
from banditd.features.lexical import LEXICAL_NAMES, lexical_facts, lexical_scalars
from banditd.features.maps import CLIP, FeatureMaps

CONTEXT_VERSION: Final = 2
MIN_NORM: Final = 1e-12
CALLER_LIMIT: Final = 1e30


class ContextBuilder:
    """Builds contexts of one schema. Immutable, safe from any thread.

    Parameters
    ----------
    encoder_id : the running encoder; it must be the one that the maps were fitted with.
    maps : frozen feature maps.
    caller_features : names of the numbers a caller may send along; one that is not sent counts as 0.

    Raises
    ------
    ConfigurationError
        The maps belong to another encoder, or a caller feature is named twice or like a lexical scalar.
    """

    def __init__(self, *, encoder_id: str, maps: FeatureMaps, caller_features: tuple[str, ...] = ()) -> None:
        if maps.encoder_id != encoder_id:
            raise ConfigurationError(
                f"The feature maps were fitted for encoder {maps.encoder_id!r}, but {encoder_id!r} is running. "
                "Run `banditd encoder build` for the model in encoder.model."
            )
        clash = set(caller_features) & set(LEXICAL_NAMES)
        if clash or len(set(caller_features)) != len(caller_features):
            raise ConfigurationError(f"Caller features need names of their own: {sorted(caller_features)}")
        self._maps = maps
        self.schema = _describe(encoder_id, maps, caller_features)
        self._caller = {name: index for index, name in enumerate(caller_features)}
        self._groups = {group.name: slice(group.start, group.stop) for group in self.schema.groups}
        n_lexical, n_components = len(LEXICAL_NAMES), maps.n_components
        self._lexical_gain = maps.lexical_scale / math.sqrt(n_lexical)
        # The lexical columns and the components are neighbours, so they are clipped in one go.
        self._clipped = slice(self._groups["lexical"].start, self._groups["embedding"].stop)
        self._ceiling = CLIP / np.sqrt(np.repeat([n_lexical, n_components], [n_lexical, n_components]))
        self._floor = -self._ceiling
        # One product gives the white components and the affinity to every centre: |v - c|^2 is least where
        # v.c - |c|^2 / 2 is greatest, for v the embedding beside the weighted lexical columns.
        whitener = maps.pca_components / math.sqrt(n_components)
        self._project = np.ascontiguousarray(np.vstack([whitener, maps.centres]))
        squares = (maps.centres**2).sum(axis=1) + (maps.lexical_centres**2).sum(axis=1)
        self._offset = np.concatenate([whitener @ maps.pca_mean, 0.5 * squares])
        self._lexical_affinity = maps.lexical_weight * maps.lexical_centres
        self._n_components = n_components
        self._cluster_start = self._groups["cluster"].start
        self._blank = np.zeros(self.schema.n_features)
        self._blank[0] = 1.0
        self._average = self._blank.copy()
        self._average[self._groups["cluster"]] = maps.cluster_frequencies.astype(np.float32)

    @property
    def cluster_words(self) -> tuple[tuple[str, ...], ...]:
        """Typical words of each cluster, for people."""
        return self._maps.cluster_words

    def build(
        self,
        *,
        text: str | None,
        embedding: FloatArray,
        turns: int = 1,
        tools: int = 0,
        caller: Mapping[str, float] | None = None,
    ) -> Context:
        """Context of one query.

        Parameters
        ----------
        text : the prompt, or None when the client sent only an embedding: then the lexical columns are at
            their mean, which is 0.
        embedding : shape (dimension,), any scale; it is brought to unit norm.
        turns, tools : messages of the conversation, tools offered.
        caller : caller features by name.

        Returns
        -------
        Context
            x has bounded norm, is finite and exactly representable in float32.

        Raises
        ------
        EmbeddingShapeError, InvalidInputError
            The embedding has the wrong length, is zero or not finite; a caller feature is unknown or not finite.
        """
        x = self._blank.copy()
        facts = self._fill_lexical(x, text, turns, tools)
        projected = self._project @ self._unit(embedding)
        projected -= self._offset
        k = self._n_components
        x[self._groups["embedding"]] = projected[:k]
        self._clip(x)
        affinity = projected[k:]
        affinity += self._lexical_affinity @ x[self._groups["lexical"]]
        cluster = int(affinity.argmax())
        x[self._cluster_start + cluster] = 1.0
        if self._caller or caller:
            self._fill_caller(x, facts, caller or {})
        return Context(x=_through_float32(x), cluster=cluster, facts=facts)

    def degraded(
        self,
        *,
        text: str | None = None,
        turns: int = 1,
        tools: int = 0,
        caller: Mapping[str, float] | None = None,
    ) -> Context:
        """The average context, for when there is no embedding: what is known of the query, means elsewhere.

        Components are 0, the cluster columns hold the clusters' frequencies, ``cluster`` is -1.
        """
        x = self._average.copy()
        facts = self._fill_lexical(x, text, turns, tools)
        self._clip(x)
        if self._caller or caller:
            self._fill_caller(x, facts, caller or {})
        return Context(x=_through_float32(x), cluster=-1, facts=facts)

    def _fill_lexical(self, x: FloatArray, text: str | None, turns: int, tools: int) -> dict[str, float]:
        if text is None:
            return {"turns": float(turns), "tools": float(tools)}
        counted = lexical_facts(text, turns=turns, tools=tools)
        scalars = lexical_scalars(counted)
        scalars -= self._maps.lexical_mean
        scalars *= self._lexical_gain
        x[self._groups["lexical"]] = scalars
        return dict(zip(LEXICAL_NAMES, counted, strict=True))

    def _clip(self, x: FloatArray) -> None:
        part = x[self._clipped]
        np.minimum(part, self._ceiling, out=part)
        np.maximum(part, self._floor, out=part)

    def _unit(self, embedding: FloatArray) -> FloatArray:
        vector = np.asarray(embedding, dtype=np.float64)
        if vector.shape != self._maps.pca_mean.shape:
            got = vector.size if vector.ndim == 1 else vector.shape
            raise EmbeddingShapeError(
                f"The embedding has length {got}, but the encoder {self.schema.encoder_id} has "
                f"{self.schema.embedding_dimension}.",
                field="/embedding",
            )
        with np.errstate(over="ignore", invalid="ignore"):  # both are handled right below
            square = float(vector @ vector)
        if not math.isfinite(square):
            if not np.isfinite(vector).all():
                raise InvalidInputError("The embedding must hold finite numbers only.", field="/embedding")
            vector = vector / np.abs(vector).max()
            square = float(vector @ vector)
        if abs(square - 1.0) < 1e-9:
            return vector
        norm = math.sqrt(square)
        if norm < MIN_NORM:
            raise InvalidInputError("The embedding is a zero vector; it has no direction.", field="/embedding")
        return vector / norm

    def _fill_caller(self, x: FloatArray, facts: dict[str, float], caller: Mapping[str, float]) -> None:
        start = self._groups["caller"].start if self._caller else 0
        root = math.sqrt(len(self._caller) or 1)
        for name, value in caller.items():
            index = self._caller.get(name)
            if index is None:
                known = ", ".join(self._caller) or "none"
                raise InvalidInputError(
                    f"Unknown feature {name!r}; configured caller features: {known}.", field=f"/features/{name}"
                )
            number = float(value)
            if not math.isfinite(number) or abs(number) > CALLER_LIMIT:
                raise InvalidInputError(f"Feature {name!r} must be a finite number.", field=f"/features/{name}")
            facts[name] = number
            # The scale of a caller's number is unknown: asinh is linear near 0 and logarithmic beyond.
            x[start + index] = max(-CLIP, min(CLIP, math.asinh(number))) / root


def _through_float32(x: FloatArray) -> FloatArray:
    return x.astype(np.float32).astype(np.float64)


def _describe(encoder_id: str, maps: FeatureMaps, caller_features: tuple[str, ...]) -> FeatureSchema:
    names: list[str] = []
    groups: list[FeatureGroup] = []
    for group, columns in (
        ("bias", ["bias"]),
        ("lexical", [f"lexical_{name}" for name in LEXICAL_NAMES]),
        ("embedding", [f"component_{index}" for index in range(maps.n_components)]),
        ("cluster", [f"cluster_{index}" for index in range(maps.n_clusters)]),
        ("caller", [f"caller_{name}" for name in caller_features]),
    ):
        if columns:
            groups.append(FeatureGroup(group, len(names), len(names) + len(columns)))
            names += columns
    identity = json.dumps([CONTEXT_VERSION, encoder_id, maps.hash, list(caller_features)])
    return FeatureSchema(
        version=CONTEXT_VERSION,
        hash=hashlib.sha256(identity.encode()).hexdigest(),
        groups=tuple(groups),
        names=tuple(names),
        encoder_id=encoder_id,
        embedding_dimension=maps.dimension,
        n_clusters=maps.n_clusters,
        caller_features=caller_features,
    )
