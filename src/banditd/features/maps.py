"""Frozen feature maps: how raw scalars and embeddings become columns. Fitted in ``features/fit.py``.

A map never changes, because learned state refers to it by hash. It is stored as ``maps.npz`` (arrays, no pickle) and
``maps.json`` (everything readable: versions, names, the typical words of each cluster).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from banditd.core.errors import ConfigurationError
from banditd.core.types import FloatArray
from banditd.features.lexical import LEXICAL_NAMES, LEXICAL_VERSION

MAPS_VERSION: Final = 2
CLIP: Final = 3.0  # standard deviations: so no unusual prompt outweighs nine others
ARRAYS_FILE: Final = "maps.npz"
TEXT_FILE: Final = "maps.json"
_ARRAYS: Final = (
    "lexical_mean",
    "lexical_scale",
    "pca_mean",
    "pca_components",
    "centres",
    "lexical_centres",
    "cluster_frequencies",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMaps:
    """The fitted numbers.

    encoder_id : the encoder whose vectors these maps belong to.
    lexical_mean, lexical_scale : float64, shape (n_lexical,): location and reciprocal standard deviation.
    pca_mean : float64, shape (dimension,).
    pca_components : float64, shape (n_components, dimension), rows divided by the standard deviation of their
        score, so that ``pca_components @ (e - pca_mean)`` is white.
    centres : float64, shape (n_clusters, dimension), k-means centres: the part in the embedding space.
    lexical_centres : float64, shape (n_clusters, n_lexical): the part in the space of the lexical columns, in
        their scale in the context vector times ``lexical_weight``.
    lexical_weight : how much form counts beside meaning when a query's cluster is chosen, >= 0.
    cluster_frequencies : float64, shape (n_clusters,), sums to 1.
    cluster_words : typical words per cluster, most typical first.
    """

    encoder_id: str
    lexical_mean: FloatArray
    lexical_scale: FloatArray
    pca_mean: FloatArray
    pca_components: FloatArray
    centres: FloatArray
    lexical_centres: FloatArray
    lexical_weight: float
    cluster_frequencies: FloatArray
    cluster_words: tuple[tuple[str, ...], ...]
    lexical_names: tuple[str, ...] = LEXICAL_NAMES
    lexical_version: int = LEXICAL_VERSION

    @property
    def dimension(self) -> int:
        return int(self.pca_mean.shape[0])

    @property
    def n_components(self) -> int:
        return int(self.pca_components.shape[0])

    @property
    def n_clusters(self) -> int:
        return int(self.centres.shape[0])

    @cached_property
    def hash(self) -> str:
        """SHA-256 over every number and name."""
        digest = hashlib.sha256(json.dumps(self._described(), sort_keys=True).encode())
        for name in _ARRAYS:
            array = np.ascontiguousarray(getattr(self, name), dtype="<f8")
            digest.update(name.encode() + repr(array.shape).encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _described(self) -> dict[str, object]:
        return {
            "version": MAPS_VERSION,
            "encoder_id": self.encoder_id,
            "lexical_version": self.lexical_version,
            "lexical_weight": self.lexical_weight,
            "lexical_names": list(self.lexical_names),
            "cluster_words": [list(words) for words in self.cluster_words],
        }

    def save(self, folder: Path) -> None:
        """Write both files. Numbers are kept as float32: call on maps that :meth:`rounded` has made."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: np.asarray(getattr(self, name), dtype=np.float32) for name in _ARRAYS}
        with (folder / ARRAYS_FILE).open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        text = json.dumps(self._described(), indent=1, ensure_ascii=False)
        (folder / TEXT_FILE).write_text(text + "\n", encoding="utf-8")

    def rounded(self) -> FeatureMaps:
        """The same maps with numbers that float32 represents, so that saving and loading is exact."""
        values = {name: np.asarray(getattr(self, name), dtype=np.float32).astype(np.float64) for name in _ARRAYS}
        return FeatureMaps(
            encoder_id=self.encoder_id,
            cluster_words=self.cluster_words,
            lexical_names=self.lexical_names,
            lexical_version=self.lexical_version,
            lexical_weight=self.lexical_weight,
            **values,
        )


def lexical_columns(scalars: FloatArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
    """Scalars as they stand in the context vector: standardised, clipped, divided by the root of their number.

    Parameters
    ----------
    scalars : float64, shape (..., n_lexical), of ``lexical_scalars``.
    mean, scale : float64, shape (n_lexical,), location and reciprocal standard deviation.

    Returns
    -------
    float64, shape (..., n_lexical), each row of norm at most ``CLIP``.
    """
    standard = np.clip((scalars - mean) * scale, -CLIP, CLIP)
    return np.asarray(standard / np.sqrt(len(mean)))


def load_feature_maps(folder: Path) -> FeatureMaps:
    """Read maps from `folder`.

    Raises
    ------
    ConfigurationError
        Files are missing or damaged, or were made by an incompatible version of the lexical scalars.
    """
    mend = "Run `banditd encoder build` for this encoder."
    try:
        described = json.loads((folder / TEXT_FILE).read_text(encoding="utf-8"))
        # From memory: numpy leaves a file open when it is cut short.
        content = BytesIO((folder / ARRAYS_FILE).read_bytes())
        with np.load(content, allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name], dtype=np.float64) for name in _ARRAYS}
        maps = FeatureMaps(
            encoder_id=str(described["encoder_id"]),
            cluster_words=tuple(tuple(map(str, words)) for words in described["cluster_words"]),
            lexical_names=tuple(described["lexical_names"]),
            lexical_version=int(described["lexical_version"]),
            lexical_weight=float(described["lexical_weight"]),
            **arrays,
        )
        version = int(described["version"])
    except (OSError, EOFError, ValueError, LookupError, TypeError, BadZipFile) as error:
        raise ConfigurationError(f"No feature maps can be read from {folder}: {error}. {mend}") from error
    current = (MAPS_VERSION, LEXICAL_VERSION, LEXICAL_NAMES)
    if (version, maps.lexical_version, maps.lexical_names) != current:
        raise ConfigurationError(f"The feature maps in {folder} belong to another version of banditd. {mend}")
    _check_shapes(maps, folder)
    return maps


def _check_shapes(maps: FeatureMaps, folder: Path) -> None:
    n_lexical, d, k = len(LEXICAL_NAMES), maps.dimension, maps.n_clusters
    fits = (
        maps.lexical_mean.shape == maps.lexical_scale.shape == (n_lexical,)
        and maps.pca_components.ndim == 2
        and maps.pca_components.shape[1] == d
        and maps.centres.shape == (k, d)
        and maps.lexical_centres.shape == (k, n_lexical)
        and maps.cluster_frequencies.shape == (k,)
        and len(maps.cluster_words) == k
    )
    if not fits or not all(np.isfinite(getattr(maps, name)).all() for name in _ARRAYS):
        raise ConfigurationError(f"The feature maps in {folder} are damaged. Run `banditd encoder build` again.")
