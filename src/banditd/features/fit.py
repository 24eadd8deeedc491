"""Fitting of feature maps from unlabelled prompts. Only used when an encoder is built, never when serving.

No reward, cost or category is looked at: the maps are unsupervised. Needs scikit-learn (extra ``tools``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from banditd.core.errors import ConfigurationError, InvalidInputError
from banditd.core.types import FloatArray, IntArray
from banditd.features.lexical import COUNT_NAMES, SHARE_NAMES, lexical_facts, lexical_scalars
from banditd.features.maps import FeatureMaps, lexical_columns
from banditd.features.window import prompt_window

N_COMPONENTS: Final = 20
N_CLUSTERS: Final = 24
LEXICAL_WEIGHT: Final = 0.8  # of form beside meaning in the choice of clusters (measured, see docs/encoder.md)
WORDS_PER_CLUSTER: Final = 8
COMMON_SHARE: Final = 0.1  # words in more than a tenth of all prompts do not characterise a cluster
# A scalar that hardly varies in the sample (turns, tools) must neither explode nor saturate on live traffic.
MIN_COUNT_SD: Final = 0.4  # of log(1 + count)
MIN_SHARE_SD: Final = 0.05
# Words of three letters and more; scripts without blanks between words give pairs of characters.
_WORD: Final = re.compile("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]{2}|[^\\W\\d_\u3040-\u9fff\uac00-\ud7af]{3,20}")


def fit_maps(
    *,
    embeddings: FloatArray,
    prompts: Sequence[str],
    encoder_id: str,
    seed: int = 0,
    n_components: int = N_COMPONENTS,
    n_clusters: int = N_CLUSTERS,
) -> FeatureMaps:
    """Fit scalers, whitened principal components, k-means clusters and their typical words.

    Parameters
    ----------
    embeddings : float64, shape (n_prompts, dimension), unit rows.
    prompts : the texts behind the rows.
    encoder_id : identity of the encoder that made them.
    seed : of k-means.
    n_components, n_clusters : lowered when there are fewer dimensions or prompts.

    Raises
    ------
    InvalidInputError
        Fewer than 64 prompts, or prompts and embeddings do not match.
    ConfigurationError
        scikit-learn is not installed.
    """
    if len(prompts) != len(embeddings) or len(prompts) < 64:
        raise InvalidInputError("Feature maps need at least 64 prompts and one embedding for each.")
    n_clusters = min(n_clusters, len(prompts) // 16)
    n_components = min(n_components, embeddings.shape[1])
    scalars = np.array([lexical_scalars(lexical_facts(prompt)) for prompt in prompts])
    least = np.repeat([MIN_COUNT_SD, MIN_SHARE_SD], [len(COUNT_NAMES), len(SHARE_NAMES)])
    spread = np.maximum(scalars.std(axis=0), least)
    mean = embeddings.mean(axis=0)
    location, scale = scalars.mean(axis=0), 1.0 / spread
    form = LEXICAL_WEIGHT * lexical_columns(scalars, location, scale)
    labels, centres = _cluster(np.hstack([embeddings, form]), n_clusters, seed)
    dimension = embeddings.shape[1]
    return FeatureMaps(
        encoder_id=encoder_id,
        lexical_mean=location,
        lexical_scale=scale,
        pca_mean=mean,
        pca_components=_whitened_components(embeddings - mean, n_components),
        centres=centres[:, :dimension],
        lexical_centres=centres[:, dimension:],
        lexical_weight=LEXICAL_WEIGHT,
        cluster_frequencies=np.bincount(labels, minlength=n_clusters) / len(labels),
        cluster_words=_typical_words(prompts, labels, n_clusters),
    ).rounded()


def _whitened_components(centred: FloatArray, n_components: int) -> FloatArray:
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    rows, singular = rows[:n_components], singular[:n_components]
    # The sign of a component is arbitrary: fix it, so that a rebuild gives the same maps.
    rows *= np.sign(rows[np.arange(n_components), np.abs(rows).argmax(axis=1)])[:, None]
    deviations = np.maximum(singular / np.sqrt(len(centred)), 1e-9)
    return np.asarray(rows / deviations[:, None])


def _cluster(points: FloatArray, n_clusters: int, seed: int) -> tuple[IntArray, FloatArray]:
    try:
        from sklearn.cluster import KMeans  # noqa: PLC0415 - only the build needs it
    except ImportError as error:
        raise ConfigurationError("Fitting feature maps needs scikit-learn: pip install 'banditd[tools]'") from error
    fitted = KMeans(n_clusters=n_clusters, n_init=8, random_state=seed).fit(points)
    # Largest cluster first: the numbering means something and does not depend on the initialisation.
    order = np.argsort(-np.bincount(fitted.labels_, minlength=n_clusters), kind="stable")
    rank = np.empty(n_clusters, dtype=np.intp)
    rank[order] = np.arange(n_clusters)
    return rank[fitted.labels_], np.asarray(fitted.cluster_centers_[order], dtype=np.float64)


def _typical_words(prompts: Sequence[str], labels: IntArray, n_clusters: int) -> tuple[tuple[str, ...], ...]:
    """Words whose share of prompts inside a cluster most exceeds their share outside it.

    Score: p_in * log(p_in / p_out), the pointwise part of the Kullback-Leibler divergence, over the share of
    prompts that contain the word; a word needs three prompts, so that no single prompt shows.
    """
    everywhere: Counter[str] = Counter()
    inside: list[Counter[str]] = [Counter() for _ in range(n_clusters)]
    sizes = np.bincount(labels, minlength=n_clusters)
    for prompt, label in zip(prompts, labels, strict=True):
        words = set(_WORD.findall(prompt_window(prompt).lower()))
        everywhere.update(words)
        inside[label].update(words)
    total = len(prompts)
    typical = []
    for cluster in range(n_clusters):
        scores: dict[str, float] = {}
        for word, n_inside in inside[cluster].items():
            if n_inside >= 3 and everywhere[word] <= max(COMMON_SHARE * total, 3):
                p_in = n_inside / sizes[cluster]
                p_out = (everywhere[word] - n_inside + 0.5) / (total - sizes[cluster] + 1)
                scores[word] = float(p_in * np.log(p_in / p_out))
        ranked = sorted(scores, key=lambda word: (-scores[word], word))
        typical.append(tuple(ranked[:WORDS_PER_CLUSTER]))
    return tuple(typical)
