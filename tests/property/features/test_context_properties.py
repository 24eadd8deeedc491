import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from banditd.encoders.static import SHIPPED_FOLDER, load_static_encoder
from banditd.features.context import CLIP, ContextBuilder
from banditd.features.lexical import COUNT_NAMES, LEXICAL_NAMES, lexical_facts
from banditd.features.maps import load_feature_maps

ENCODER = load_static_encoder()
BUILDER = ContextBuilder(
    encoder_id=ENCODER.encoder_id, maps=load_feature_maps(SHIPPED_FOLDER), caller_features=("a", "b")
)
# bias, lexical and embedding at the clip, one cluster, callers at the clip: each group has a bounded norm.
LARGEST_NORM = np.sqrt(1 + CLIP**2 + CLIP**2 + 1 + CLIP**2) + 1e-6
texts = st.text(max_size=300) | st.text('aA1 ?()\n"{}$=é数_', max_size=300)
numbers = st.floats(allow_nan=False, allow_infinity=False)


def check(x: np.ndarray) -> None:
    assert x.dtype == np.float64
    assert x.shape == (BUILDER.schema.n_features,)
    assert np.isfinite(x).all()
    np.testing.assert_array_equal(x, x.astype(np.float32).astype(np.float64))
    assert np.linalg.norm(x) <= LARGEST_NORM
    assert x[0] == 1.0


@settings(max_examples=150)
@given(text=texts, turns=st.integers(0, 10**9), tools=st.integers(0, 10**9), value=st.floats(-1e30, 1e30))
def test_every_query_has_a_bounded_context_that_float32_holds(
    text: str, turns: int, tools: int, value: float
) -> None:
    caller = {"a": value}
    context = BUILDER.build(text=text, embedding=ENCODER.encode_now(text), turns=turns, tools=tools, caller=caller)
    check(context.x)
    assert 0 <= context.cluster < BUILDER.schema.n_clusters
    degraded = BUILDER.build(text=text, embedding=None, turns=turns, tools=tools, caller=caller)
    check(degraded.x)
    assert degraded.cluster == -1


@settings(max_examples=150)
@given(arrays(np.float64, ENCODER.dimension, elements=numbers))
def test_every_embedding_with_a_direction_has_a_context(embedding: np.ndarray) -> None:
    if np.abs(embedding).max() > 1e-6:
        check(BUILDER.build(text=None, embedding=embedding).x)


@settings(max_examples=300)
@given(texts)
def test_facts_are_finite_counts_and_shares(text: str) -> None:
    facts = dict(zip(LEXICAL_NAMES, lexical_facts(text), strict=True))
    assert all(np.isfinite(list(facts.values())))
    for name, value in facts.items():
        assert value >= 0, name
        if name not in COUNT_NAMES:
            assert value <= 1, name
        elif name != "word_length":
            assert value == int(value), name
    assert facts["chars"] == len(text)
    assert facts["words"] == len(text.split())
