import sys
from pathlib import Path

import numpy as np
import pytest

from banditd.core.errors import ConfigurationError, EncoderUnavailableError
from banditd.encoders.factory import load_encoder, open_encoder
from banditd.encoders.pool import EncoderPool
from banditd.encoders.sentence import SentenceEncoder, load_sentence_encoder
from banditd.encoders.static import SHIPPED_FOLDER, StaticEncoder, load_static_encoder


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, tiny, randomly initialised BERT in sentence-transformers form."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny-bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", "hello", "world"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    module = Transformer(str(folder))
    whole = folder / "whole"
    SentenceTransformer(modules=[module, Pooling(16)], device="cpu").save(str(whole))
    return whole


def test_any_sentence_transformers_folder_gives_unit_vectors(transformer: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    encoder = load_sentence_encoder(str(transformer))
    assert torch.get_num_threads() == 1
    assert encoder.dimension == 16
    assert encoder.encoder_id.startswith("whole@")
    vector = encoder.encode_now("hello world")
    theirs = SentenceTransformer(str(transformer)).encode("hello world", show_progress_bar=False)
    np.testing.assert_allclose(vector, theirs / np.linalg.norm(theirs), atol=1e-6)
    for odd in ("", "\ud800 lone", "a " * 500_000):
        assert abs(np.linalg.norm(encoder.encode_now(odd)) - 1) < 1e-9


def test_the_identity_follows_the_weights_not_the_place(transformer: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(transformer))
    before = SentenceEncoder(model=model, name="m").encoder_id
    assert before == SentenceEncoder(model=SentenceTransformer(str(transformer)), name="m").encoder_id
    next(model.parameters()).data[0, 0] += 1.0
    assert SentenceEncoder(model=model, name="m").encoder_id != before


async def test_a_transformer_is_opened_in_a_pool(transformer: Path) -> None:
    encoder = await open_encoder(model=str(transformer), threads=2, queue_size=8, deadline_s=30.0)
    assert isinstance(encoder, EncoderPool)
    vector = await encoder.encode("hello")
    assert vector.shape == (16,)
    await encoder.close()


async def test_maps_are_fitted_with_the_very_encoder_that_will_run(transformer: Path) -> None:
    for model in ("static", str(SHIPPED_FOLDER), str(transformer)):
        running = await open_encoder(model=model, deadline_s=30.0)
        assert load_encoder(model).encoder_id == running.encoder_id
        await running.close()


async def test_static_names_and_static_folders_are_opened_without_threads() -> None:
    shipped = await open_encoder()
    assert isinstance(shipped, StaticEncoder)
    by_folder = await open_encoder(model=str(SHIPPED_FOLDER))
    assert isinstance(by_folder, StaticEncoder)
    np.testing.assert_array_equal(await shipped.encode("hi"), await by_folder.encode("hi"))
    await shipped.close()


def test_the_adapter_and_the_static_encoder_agree_on_the_shipped_folder() -> None:
    ours = load_static_encoder()
    adapter = load_sentence_encoder(str(SHIPPED_FOLDER))
    for text in ("Explain recursion.", "¿Qué hora es?"):
        assert adapter.encode_now(text) @ ours.encode_now(text) > 0.9999


def test_a_model_without_direction_is_unavailable_not_a_zero_vector() -> None:
    adapter = load_sentence_encoder(str(SHIPPED_FOLDER))
    with pytest.raises(EncoderUnavailableError, match="no usable vector"):
        adapter.encode_now("")  # sentence-transformers answers an empty bag with zeros


def test_a_busy_tokenizer_is_asked_again() -> None:
    adapter = load_sentence_encoder(str(SHIPPED_FOLDER))
    real = adapter._model.encode
    refusals = iter([True, True, False])

    class Busy:
        def encode(self, text: str, **options: object) -> object:
            if next(refusals):
                raise RuntimeError("Already borrowed")
            return real(text, **options)

    adapter._model = Busy()
    assert adapter.encode_now("hello").shape == (adapter.dimension,)
    assert list(refusals) == []


def test_tokens_are_estimated_from_lengths() -> None:
    adapter = load_sentence_encoder(str(SHIPPED_FOLDER))
    assert adapter.count_tokens("") == 0
    assert adapter.count_tokens("a" * 400) == 100
    assert adapter.count_tokens("数" * 30) == 20


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'banditd\[sentence-transformers\]'"):
        load_sentence_encoder("all-MiniLM-L6-v2")


def test_a_folder_that_holds_no_model_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_sentence_encoder(str(tmp_path))
