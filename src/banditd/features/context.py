"""Turns embedding, scalars and caller features into the context vector x. No encoder, and nothing is fitted here.

x = bias | lexical scalars | whitened principal components | one-hot of the cluster | caller features | one-hot of
each context tag.

Every group is scaled to be O(1) as a whole (its columns by one over the root of their number), so that a prior scale
means the same for every group; the learner tunes these scales by evidence.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import numpy as np

from banditd.core.errors import ConfigurationError, EmbeddingShapeError, InvalidInputError
from banditd.core.types import Context, FeatureGroup, FeatureSchema, FloatArray
from banditd.features.lexical import LEXICAL_NAMES, lexical_facts, lexical_scalars
from banditd.features.maps import CLIP, FeatureMaps
from banditd.features.tags import PLACES, TagColumns

_T = TypeVar("_T")
CONTEXT_VERSION: Final = 2
MIN_NORM: Final = 1e-12
CALLER_LIMIT: Final = 1e30


class Described(NamedTuple):
    """What is known about one query.

    unit : its embedding at unit norm, or None.
    counted : the lexical facts in the order of ``LEXICAL_NAMES``; None without a text.
    facts : all of them by name.
    caller : (column, value) of its caller features and context tags.
    """

    unit: FloatArray | None
    counted: list[float] | None
    facts: dict[str, float]
    caller: tuple[tuple[int, float], ...]


class ContextBuilder:
    """Builds contexts of one schema. Immutable, safe from any thread.

    Parameters
    ----------
    encoder_id : the running encoder; it must be the one that the maps were fitted with.
    maps : frozen feature maps.
    caller_features : names of the numbers a caller may send along; one that is not sent counts as 0.
    context_tags : names of the tags whose values are features; a query without one has zeros there.

    Raises
    ------
    ConfigurationError
        The maps belong to another encoder, a caller feature is named twice or like a lexical scalar, or a tag twice.
    """

    def __init__(
        self,
        *,
        encoder_id: str,
        maps: FeatureMaps,
        caller_features: tuple[str, ...] = (),
        context_tags: tuple[str, ...] = (),
    ) -> None:
        if maps.encoder_id != encoder_id:
            raise ConfigurationError(
                f"The feature maps were fitted for encoder {maps.encoder_id!r}, but {encoder_id!r} is running. "
                "Run `banditd encoder build` for the model in encoder.model."
            )
        clash = set(caller_features) & set(LEXICAL_NAMES)
        if clash or len(set(caller_features)) != len(caller_features):
            raise ConfigurationError(f"Caller features need names of their own: {sorted(caller_features)}")
        if len(set(context_tags)) != len(context_tags):
            raise ConfigurationError(f"Context tags are named once each: {list(context_tags)}")
        self._maps = maps
        self.tag_columns = TagColumns(context_tags)
        self.schema = _describe(encoder_id, maps, caller_features, context_tags)
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
        self._average_cluster = maps.cluster_frequencies.astype(np.float32)

    @property
    def cluster_words(self) -> tuple[tuple[str, ...], ...]:
        """Typical words of each cluster, for display."""
        return self._maps.cluster_words

    @property
    def maps_hash(self) -> str:
        """Hash of the feature maps; under the same hash, clusters with the same number are the same."""
        return self._maps.hash

    def build(
        self,
        *,
        text: str | None,
        embedding: FloatArray | None,
        turns: int = 1,
        tools: int = 0,
        caller: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Context:
        """Context of one query.

        Parameters
        ----------
        text : the prompt, or None when the client sent only an embedding: then the lexical columns are at
            their mean, which is 0.
        embedding : shape (dimension,), any scale; it is brought to unit norm. None gives the average context
            (degraded): components are 0, the cluster columns hold the clusters' frequencies, ``cluster`` is -1.
        turns, tools : messages of the conversation, tools offered.
        caller : caller features by name. tags : of the query; those that are no context tags say nothing.

        Returns
        -------
        Context
            x has bounded norm, is finite and exactly representable in float32.

        Raises
        ------
        EmbeddingShapeError, InvalidInputError
            The embedding has the wrong length, is zero or not finite; a caller feature is unknown or not finite.
        """
        described = self.describe(text=text, embedding=embedding, turns=turns, tools=tools, caller=caller, tags=tags)
        return self.contexts([described])[0]

    def describe(
        self,
        *,
        text: str | None,
        embedding: FloatArray | None,
        turns: int = 1,
        tools: int = 0,
        caller: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Described:
        """Everything that can be computed for one query by itself; arguments and errors as for ``build``."""
        unit = None if embedding is None else self._unit(embedding)
        if text is None:
            counted, facts = None, {"turns": float(turns), "tools": float(tools)}
        else:
            counted = lexical_facts(text, turns=turns, tools=tools)
            facts = dict(zip(LEXICAL_NAMES, counted, strict=True))
        given = self._caller_columns(facts, caller) if caller else ()
        if tags and self.tag_columns.tags:
            given += self._tag_columns(tags)
        return Described(unit, counted, facts, given)

    def contexts(self, described: Sequence[Described]) -> list[Context]:
        """The contexts of many queries, each the same as if built alone."""
        n, k = len(described), self._n_components
        x = np.zeros((n, self.schema.n_features))
        x[:, 0] = 1.0
        formed, formed_at = _known([one.counted for one in described])
        if formed:
            scalars = lexical_scalars(np.array(formed))
            scalars -= self._maps.lexical_mean
            scalars *= self._lexical_gain
            x[formed_at, self._groups["lexical"]] = scalars
        units, at = _known([one.unit for one in described])
        if len(units) < n:
            missing = [row for row, one in enumerate(described) if one.unit is None]
            x[missing, self._groups["cluster"]] = self._average_cluster
        clusters = [-1] * n
        if units:
            # One product per query, which rounds in the same way as for a query alone.
            projected = (self._project @ np.array(units)[:, :, None])[:, :, 0]
            projected -= self._offset
            x[at, self._groups["embedding"]] = projected[:, :k]
        part = x[:, self._clipped]
        np.minimum(part, self._ceiling, out=part)
        np.maximum(part, self._floor, out=part)
        if units:
            form = x[at, self._groups["lexical"]]
            affinity = projected[:, k:] + (self._lexical_affinity @ form[:, :, None])[:, :, 0]
            for row, cluster in zip(
                range(n) if isinstance(at, slice) else at, affinity.argmax(1).tolist(), strict=True
            ):
                clusters[row] = cluster
                x[row, self._cluster_start + cluster] = 1.0
        for row, one in enumerate(described):
            for column, value in one.caller:
                x[row, column] = value
        rows = _through_float32(x)
        return [Context(row, index, one.facts) for row, index, one in zip(rows, clusters, described, strict=True)]

    def _unit(self, embedding: FloatArray) -> FloatArray:
        vector = np.asarray(embedding, dtype=np.float64)
        if vector.shape != self._maps.pca_mean.shape:
            got = vector.size if vector.ndim == 1 else vector.shape
            raise EmbeddingShapeError(
                f"The embedding has length {got}, but the encoder {self.schema.encoder_id} has "
                f"{self.schema.embedding_dimension}.",
                field="/embedding",
            )
        square = float(np.vdot(vector, vector))  # the only product that gives no warning on overflow
        if not math.isfinite(square):
            if not np.isfinite(vector).all():
                raise InvalidInputError("The embedding must hold finite numbers only.", field="/embedding")
            vector = vector / np.abs(vector).max()
            square = float(np.vdot(vector, vector))
        if abs(square - 1.0) < 1e-9:
            return vector
        norm = math.sqrt(square)
        if norm < MIN_NORM:
            raise InvalidInputError("The embedding is a zero vector; it has no direction.", field="/embedding")
        return vector / norm

    def _caller_columns(self, facts: dict[str, float], caller: Mapping[str, float]) -> tuple[tuple[int, float], ...]:
        """(column, value) of each caller feature; its number is added to ``facts``."""
        found = []
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
            found.append((self._groups["caller"].start + index, max(-CLIP, min(CLIP, math.asinh(number))) / root))
        return tuple(found)

    def _tag_columns(self, tags: Mapping[str, str]) -> tuple[tuple[int, float], ...]:
        """(column, 1) of each context tag that the query has."""
        columns = self.tag_columns
        return tuple(
            (self._groups[tag_group(tag)].start + columns.place(tag, tags[tag]), 1.0)
            for tag in columns.tags
            if tag in tags
        )


def tag_group(tag: str) -> str:
    """The name of the feature group that a context tag has."""
    return f"tag:{tag}"


def _known(values: Sequence[_T | None]) -> tuple[list[_T], list[int] | slice]:
    """The values that are not None, and their rows; usually all of them, for which a slice is cheapest."""
    found = [value for value in values if value is not None]
    if len(found) == len(values):
        return found, slice(None)
    return found, [row for row, value in enumerate(values) if value is not None]


def _through_float32(x: FloatArray) -> FloatArray:
    return x.astype(np.float32).astype(np.float64)


def _describe(
    encoder_id: str, maps: FeatureMaps, caller_features: tuple[str, ...], context_tags: tuple[str, ...]
) -> FeatureSchema:
    names: list[str] = []
    groups: list[FeatureGroup] = []
    for group, columns in (
        ("bias", ["bias"]),
        ("lexical", [f"lexical_{name}" for name in LEXICAL_NAMES]),
        ("embedding", [f"component_{index}" for index in range(maps.n_components)]),
        ("cluster", [f"cluster_{index}" for index in range(maps.n_clusters)]),
        ("caller", [f"caller_{name}" for name in caller_features]),
        *((tag_group(tag), [f"tag_{tag}_{place}" for place in range(PLACES + 1)]) for tag in context_tags),
    ):
        if columns:
            groups.append(FeatureGroup(group, len(names), len(names) + len(columns)))
            names += columns

    def identity(tags: tuple[str, ...]) -> str:
        stated: list[object] = [CONTEXT_VERSION, encoder_id, maps.hash, list(caller_features)]
        if tags:
            stated += [list(tags), PLACES]
        return hashlib.sha256(json.dumps(stated).encode()).hexdigest()

    return FeatureSchema(
        version=CONTEXT_VERSION,
        hash=identity(context_tags),
        groups=tuple(groups),
        names=tuple(names),
        encoder_id=encoder_id,
        embedding_dimension=maps.dimension,
        n_clusters=maps.n_clusters,
        caller_features=caller_features,
        extends=tuple(identity(context_tags[:count]) for count in reversed(range(len(context_tags)))),
    )
