import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from banditd.core.errors import ConfigurationError
from banditd.encoders.building.build import MAX_BYTES
from banditd.encoders.static import SHIPPED_FOLDER, is_static_folder, load_static_encoder

TEXTS = [
    "What is the capital of France?",
    "def f(x):\n    return x + 1  # naïve",
    "数学の問題を解いてください。",
    "Résumé — “curly quotes” and 3.14 × 2²",
    "[MASK] is not special here",
    "x" * 300,
    "Write a haiku about autumn leaves. " * 40,
]
ENCODER = load_static_encoder()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(SHIPPED_FOLDER, folder)
    return folder


def test_sentence_transformers_gives_the_same_vectors_from_the_same_folder() -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(SHIPPED_FOLDER), device="cpu")
    ours = np.array([ENCODER.encode_now(text) for text in TEXTS])
    as_stored = model.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(as_stored.astype(np.float64), ours, atol=2e-3)
    in_float32 = model.float().encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(in_float32, ours, atol=2e-6)


def test_loading_and_encoding_import_no_torch() -> None:
    code = (
        "import sys, banditd.encoders.factory as f, banditd.encoders.static as s;"
        "s.load_static_encoder().encode_now('hello');"
        "sys.exit(any(m in sys.modules for m in ('torch', 'sentence_transformers', 'transformers', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@settings(max_examples=100)
@given(st.text(max_size=200))
def test_every_text_has_a_finite_unit_vector(text: str) -> None:
    vector = ENCODER.encode_now(text)
    assert vector.shape == (ENCODER.dimension,)
    assert vector.dtype == np.float64
    assert abs(np.linalg.norm(vector) - 1.0) < 1e-9


@pytest.mark.parametrize("text", ["", "   \n", "\x00\x07"])
def test_a_text_without_tokens_gets_the_vector_of_the_unknown_token(text: str) -> None:
    unknown = ENCODER.encode_now("b" * 200)  # longer than any word that WordPiece looks at
    np.testing.assert_array_equal(ENCODER.encode_now(text), unknown)


def test_similar_questions_are_closer_than_different_ones() -> None:
    encode = ENCODER.encode_now
    question = encode("How do I sort a list of numbers in Python?")
    alike = encode("Which function sorts an array in JavaScript?")
    other = encode("Which vitamins are in fresh oranges and lemons?")
    assert question @ alike > question @ other + 0.2


def test_of_a_megabyte_prompt_only_head_and_tail_are_read() -> None:
    head, tail = "solve this equation " * 200, " and explain the proof" * 200
    first = ENCODER.encode_now(head + "gardening tips " * 70_000 + tail)
    second = ENCODER.encode_now(head + "stock market news " * 70_000 + tail)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, ENCODER.encode_now(head))


async def test_the_port_gives_the_same_vector_and_closes() -> None:
    np.testing.assert_array_equal(await ENCODER.encode("hello"), ENCODER.encode_now("hello"))
    await ENCODER.close()


def test_tokens_are_counted_exactly_for_short_and_extrapolated_for_long_prompts() -> None:
    text = "Explain quicksort, please."
    assert ENCODER.count_tokens(text) == 7
    ENCODER.encode_now(text)
    assert ENCODER.count_tokens(text) == 7  # from the memo of the call before
    assert ENCODER.count_tokens("") == 0
    many = text + " " + "Explain quicksort, please. " * 9_999
    assert abs(ENCODER.count_tokens(many) / 70_000 - 1) < 0.02


def test_the_identity_follows_the_content_not_the_place(copied: Path) -> None:
    before = load_static_encoder(copied).encoder_id
    assert before == ENCODER.encoder_id
    rows = load_file(copied / "model.safetensors")["embedding.weight"]
    rows[5, 5] += np.float16(0.5)
    save_file({"embedding.weight": rows}, copied / "model.safetensors")
    assert load_static_encoder(copied).encoder_id != before


def test_eight_bit_rows_with_scales_are_read_as_sentence_transformers_reads_them(copied: Path) -> None:
    from sentence_transformers import SentenceTransformer

    rows = load_file(copied / "model.safetensors")["embedding.weight"].astype(np.float32)
    scales = np.abs(rows).max(axis=1) / 127
    stored = {
        "embeddings": np.round(rows / scales[:, None]).astype(np.int8),
        "weights": scales.astype(np.float32),
        "mapping": np.arange(len(rows), dtype=np.int64),
    }
    save_file(stored, copied / "model.safetensors")
    encoder = load_static_encoder(copied)
    theirs = SentenceTransformer(str(copied), device="cpu").encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(theirs, [encoder.encode_now(text) for text in TEXTS], atol=2e-6)
    closeness = [encoder.encode_now(text) @ ENCODER.encode_now(text) for text in TEXTS]
    assert min(closeness) > 0.999


def test_the_shipped_folder_is_small_and_carries_its_licence() -> None:
    files = [file for file in SHIPPED_FOLDER.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= MAX_BYTES
    assert "Apache License" in (SHIPPED_FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert "all-MiniLM-L6-v2" in (SHIPPED_FOLDER / "NOTICE.md").read_text(encoding="utf-8")


def test_a_missing_or_damaged_folder_says_what_to_do(tmp_path: Path, copied: Path) -> None:
    with pytest.raises(ConfigurationError, match="banditd encoder build"):
        load_static_encoder(tmp_path / "nowhere")
    (copied / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ConfigurationError, match=r"encoder\.model"):
        load_static_encoder(copied)


def test_a_tokenizer_that_does_not_fit_the_rows_is_refused(copied: Path) -> None:
    rows = load_file(copied / "model.safetensors")["embedding.weight"]
    save_file({"embedding.weight": rows[:100].copy()}, copied / "model.safetensors")
    with pytest.raises(ConfigurationError, match="more tokens"):
        load_static_encoder(copied)


def test_only_a_folder_that_starts_with_a_static_embedding_is_static(tmp_path: Path) -> None:
    assert is_static_folder(SHIPPED_FOLDER)
    assert not is_static_folder(tmp_path)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    assert not is_static_folder(tmp_path)
