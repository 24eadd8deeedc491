import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from banditd.core.errors import ConfigurationError, InvalidInputError
from banditd.features.fit import fit_maps
from banditd.features.lexical import LEXICAL_NAMES, lexical_facts, lexical_scalars
from banditd.features.maps import ARRAYS_FILE, TEXT_FILE, FeatureMaps, load_feature_maps


@pytest.fixture(scope="module")
def toy(request: pytest.FixtureRequest) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(5)
    kinds = ["bake some bread number {}?", "def sort_{}(rows): return rows", "translate sentence {} to French"]
    prompts = [kinds[index % 3].format(index) for index in range(300)]
    embeddings = np.eye(3, 12)[np.arange(300) % 3] + 0.05 * rng.standard_normal((300, 12))
    return prompts, embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def fit(toy: tuple[list[str], np.ndarray], *, seed: int = 0) -> FeatureMaps:
    return fit_maps(embeddings=toy[1], prompts=toy[0], encoder_id="toy@1", seed=seed, n_components=4, n_clusters=3)


def test_components_are_white_on_the_prompts_they_were_fitted_on(toy: tuple[list[str], np.ndarray]) -> None:
    maps = fit(toy)
    scores = (toy[1] - maps.pca_mean) @ maps.pca_components.T
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(scores.T, bias=True), np.eye(4), atol=1e-3)


def test_lexical_scalars_are_standardised_unless_they_hardly_vary(toy: tuple[list[str], np.ndarray]) -> None:
    maps = fit(toy)
    scalars = np.array([lexical_scalars(lexical_facts(prompt)) for prompt in toy[0]])
    standard = (scalars - maps.lexical_mean) * maps.lexical_scale
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-4)
    deviations = standard.std(axis=0)
    assert deviations.max() <= 1 + 1e-6
    assert deviations[LEXICAL_NAMES.index("turns")] < 1e-9  # constant here, yet its scale is finite
    assert maps.lexical_scale.max() <= 1 / 0.05 + 1e-6


def test_clusters_find_the_kinds_and_are_named_by_their_words(toy: tuple[list[str], np.ndarray]) -> None:
    maps = fit(toy)
    distances = ((toy[1][:, None, :] - maps.centres[None]) ** 2).sum(axis=2)
    labels = distances.argmin(axis=1)
    assert [len(set(labels[kind::3])) for kind in range(3)] == [1, 1, 1]
    assert len({labels[0], labels[1], labels[2]}) == 3
    np.testing.assert_allclose(maps.cluster_frequencies, 1 / 3, atol=1e-6)


def test_typical_words_are_single_words_that_set_a_cluster_apart() -> None:
    rng = np.random.default_rng(0)
    prompts = [f"common {('bread', 'oven')[i % 2]} {i}" for i in range(20)]
    prompts += [f"common filler{'abcdefghij'[i % 10]} {i}" for i in range(300)]
    embeddings = np.repeat(np.eye(2, 8), [20, 300], axis=0) + 0.01 * rng.standard_normal((320, 8))
    maps = fit_maps(embeddings=embeddings, prompts=prompts, encoder_id="e", n_clusters=2, n_components=2)
    assert maps.cluster_frequencies[0] > maps.cluster_frequencies[1]  # the largest comes first
    assert set(maps.cluster_words[1]) == {"bread", "oven"}
    assert "common" not in maps.cluster_words[0]
    assert all(" " not in word for words in maps.cluster_words for word in words)


def test_no_word_of_a_single_prompt_is_kept() -> None:
    rng = np.random.default_rng(0)
    prompts = ["secretword alone"] + [f"plain bread text {'xyz'[i % 3] * 4}" for i in range(127)]
    embeddings = rng.standard_normal((128, 8))
    maps = fit_maps(embeddings=embeddings, prompts=prompts, encoder_id="e", n_clusters=4, n_components=2)
    assert all("secretword" not in words for words in maps.cluster_words)


def test_fitting_again_gives_the_same_hash_and_other_prompts_another(toy: tuple[list[str], np.ndarray]) -> None:
    assert fit(toy).hash == fit(toy).hash
    assert fit((toy[0][:200], toy[1][:200])).hash != fit(toy).hash


def test_saved_maps_are_loaded_unchanged_and_without_pickle(
    toy: tuple[list[str], np.ndarray], tmp_path: Path
) -> None:
    maps = fit(toy)
    maps.save(tmp_path)
    again = load_feature_maps(tmp_path)
    assert again.hash == maps.hash
    assert again.cluster_words == maps.cluster_words
    np.testing.assert_array_equal(again.pca_components, maps.pca_components)
    with np.load(tmp_path / ARRAYS_FILE, allow_pickle=False) as stored:
        assert all(stored[name].dtype == np.float32 for name in stored.files)


def test_every_number_and_name_counts_in_the_hash(toy: tuple[list[str], np.ndarray]) -> None:
    maps = fit(toy)
    words = (("other",), *maps.cluster_words[1:])
    changed = [
        replace(maps, encoder_id="toy@2"),
        replace(maps, cluster_words=words),
        replace(maps, lexical_mean=maps.lexical_mean + 1),
        replace(maps, centres=maps.centres * 2),
        replace(maps, lexical_centres=maps.lexical_centres + 1),
        replace(maps, lexical_weight=0.5),
        replace(maps, cluster_frequencies=maps.cluster_frequencies[::-1] * 0.5),
    ]
    assert len({maps.hash, *(other.hash for other in changed)}) == 8


@pytest.mark.parametrize(
    "damage", ["no text", "no arrays", "cut arrays", "other version", "pickle", "wrong shape", "nan"]
)
def test_damaged_maps_are_refused_with_what_to_do(
    damage: str, toy: tuple[list[str], np.ndarray], tmp_path: Path
) -> None:
    maps = fit(toy)
    if damage == "wrong shape":
        maps = replace(maps, centres=maps.centres[:, :5])
    if damage == "nan":
        maps = replace(maps, pca_mean=maps.pca_mean * np.nan)
    maps.save(tmp_path)
    if damage == "no text":
        (tmp_path / TEXT_FILE).unlink()
    if damage == "no arrays":
        (tmp_path / ARRAYS_FILE).write_bytes(b"")
    if damage == "cut arrays":
        (tmp_path / ARRAYS_FILE).write_bytes((tmp_path / ARRAYS_FILE).read_bytes()[:900])
    if damage == "pickle":
        with (tmp_path / ARRAYS_FILE).open("wb") as file:
            np.savez(file, lexical_mean=np.array([{"a": 1}], dtype=object))
    if damage == "other version":
        described = json.loads((tmp_path / TEXT_FILE).read_text(encoding="utf-8"))
        (tmp_path / TEXT_FILE).write_text(json.dumps({**described, "lexical_version": 0}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="banditd encoder build"):
        load_feature_maps(tmp_path)


def test_too_few_prompts_are_refused(toy: tuple[list[str], np.ndarray]) -> None:
    with pytest.raises(InvalidInputError, match="64 prompts"):
        fit((toy[0][:63], toy[1][:63]))
    with pytest.raises(InvalidInputError, match="one embedding for each"):
        fit((toy[0], toy[1][:-1]))
