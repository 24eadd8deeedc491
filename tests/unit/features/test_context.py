import math

import numpy as np
import pytest

from banditd.core.errors import ConfigurationError, EmbeddingShapeError, InvalidInputError
from banditd.encoders.static import SHIPPED_FOLDER, load_static_encoder
from banditd.features.context import CLIP, ContextBuilder
from banditd.features.lexical import LEXICAL_NAMES, lexical_facts, lexical_scalars
from banditd.features.maps import lexical_columns, load_feature_maps

ENCODER = load_static_encoder()
MAPS = load_feature_maps(SHIPPED_FOLDER)
CALLER = ("vip", "hour")


def make_builder(caller_features: tuple[str, ...] = ()) -> ContextBuilder:
    return ContextBuilder(encoder_id=ENCODER.encoder_id, maps=MAPS, caller_features=caller_features)


BUILDER = make_builder()
GROUPS = {group.name: slice(group.start, group.stop) for group in BUILDER.schema.groups}


def test_the_groups_cover_the_columns_in_order_and_without_gaps() -> None:
    schema = make_builder(CALLER).schema
    assert [group.name for group in schema.groups] == ["bias", "lexical", "embedding", "cluster", "caller"]
    starts = [group.start for group in schema.groups]
    stops = [group.stop for group in schema.groups]
    assert starts == [0, *stops[:-1]]
    assert schema.groups[0].size == 1
    assert len(schema.names) == len(set(schema.names)) == schema.n_features == stops[-1]
    assert schema.embedding_dimension == ENCODER.dimension
    assert schema.n_clusters == MAPS.n_clusters == schema.groups[3].size
    assert "caller" not in GROUPS


def test_the_shipped_schema_has_about_seventy_columns() -> None:
    assert 60 <= BUILDER.schema.n_features <= 80


def test_the_columns_follow_from_maps_and_text() -> None:
    text = "How many apples are left if 3 of 12 are eaten?"
    embedding = ENCODER.encode_now(text)
    context = BUILDER.build(text=text, embedding=embedding)
    x = context.x
    assert x[0] == 1.0
    white = MAPS.pca_components @ (embedding - MAPS.pca_mean)
    expected = np.clip(white, -CLIP, CLIP) / math.sqrt(MAPS.n_components)
    np.testing.assert_allclose(x[GROUPS["embedding"]], expected, atol=1e-6)
    form = MAPS.lexical_weight * x[GROUPS["lexical"]]
    distances = ((MAPS.centres - embedding) ** 2).sum(axis=1) + ((MAPS.lexical_centres - form) ** 2).sum(axis=1)
    nearest = int(distances.argmin())
    assert context.cluster == nearest
    np.testing.assert_array_equal(x[GROUPS["cluster"]], np.eye(MAPS.n_clusters)[nearest])
    questions = LEXICAL_NAMES.index("questions")
    standard = (math.log1p(1) - MAPS.lexical_mean[questions]) * MAPS.lexical_scale[questions]
    assert x[GROUPS["lexical"]][questions] == pytest.approx(standard / math.sqrt(len(LEXICAL_NAMES)), abs=1e-6)
    assert context.facts["questions"] == 1.0
    assert context.facts["numbers"] == 2.0


def test_the_lexical_columns_are_those_of_the_maps() -> None:
    text = "Sort (a) 3, (b) 1? " * 30
    scalars = lexical_scalars(lexical_facts(text, turns=2))
    expected = lexical_columns(scalars, MAPS.lexical_mean, MAPS.lexical_scale)
    context = BUILDER.build(text=text, embedding=None, turns=2)
    np.testing.assert_allclose(context.x[GROUPS["lexical"]], expected, atol=1e-6)
    assert np.linalg.norm(expected) <= CLIP


def test_form_and_meaning_both_choose_the_cluster() -> None:
    embedding = ENCODER.encode_now("chemistry of acids and bases")
    forms = ["Name one acid.", "Which is an acid?\nA) salt\nB) vinegar\nC) soap\nD) water\nAnswer:"]
    assert len({BUILDER.build(text=form, embedding=embedding).cluster for form in forms}) == 2
    meanings = ["integrals of polynomials", "a poem about autumn"]
    clusters = {BUILDER.build(text=forms[0], embedding=ENCODER.encode_now(m)).cluster for m in meanings}
    assert len(clusters) == 2


def test_prompts_of_one_kind_share_a_cluster_and_kinds_differ() -> None:
    def cluster(text: str) -> int:
        return BUILDER.build(text=text, embedding=ENCODER.encode_now(text)).cluster

    integrals = {cluster(f"Find the roots of the polynomial $x^{n} - {n}x + 1$") for n in (2, 3, 4)}
    recipes = {cluster(f"A recipe for {dish} soup with onions and butter") for dish in ("leek", "bean")}
    assert len(integrals) == len(recipes) == 1
    assert integrals != recipes


def test_an_embedding_of_any_scale_gives_the_same_context() -> None:
    embedding = ENCODER.encode_now("hello there")
    x = BUILDER.build(text=None, embedding=embedding).x
    for scale in (1e-6, 7.0, 1e200):
        np.testing.assert_allclose(BUILDER.build(text=None, embedding=embedding * scale).x, x, atol=1e-6)


def test_without_text_the_lexical_columns_are_at_their_mean() -> None:
    context = BUILDER.build(text=None, embedding=ENCODER.encode_now("hello"), turns=4)
    np.testing.assert_array_equal(context.x[GROUPS["lexical"]], 0.0)
    assert context.facts == {"turns": 4.0, "tools": 0.0}


def test_turns_and_tools_move_their_own_column_only() -> None:
    embedding = ENCODER.encode_now("hello")
    plain = BUILDER.build(text="hello", embedding=embedding).x
    long_talk = BUILDER.build(text="hello", embedding=embedding, turns=4, tools=2).x
    moved = [BUILDER.schema.names[index] for index in np.flatnonzero(plain != long_talk)]
    assert moved == ["lexical_turns", "lexical_tools"]
    longer = BUILDER.build(text="hello", embedding=embedding, turns=3).x
    index = BUILDER.schema.names.index("lexical_turns")
    assert plain[index] < longer[index] < long_talk[index]


def test_the_degraded_context_is_the_average_one_with_what_is_known() -> None:
    context = BUILDER.build(text=None, embedding=None)
    assert context.cluster == -1
    assert context.x[0] == 1.0
    np.testing.assert_array_equal(context.x[GROUPS["embedding"]], 0.0)
    np.testing.assert_array_equal(context.x[GROUPS["lexical"]], 0.0)
    np.testing.assert_allclose(context.x[GROUPS["cluster"]], MAPS.cluster_frequencies, atol=1e-7)
    text = "Is 7 prime?"
    with_text = BUILDER.build(text=text, embedding=None)
    whole = BUILDER.build(text=text, embedding=ENCODER.encode_now(text))
    np.testing.assert_array_equal(with_text.x[GROUPS["lexical"]], whole.x[GROUPS["lexical"]])
    assert with_text.facts == whole.facts


@pytest.mark.parametrize("length", [0, 1, 111, 384])
def test_an_embedding_of_the_wrong_length_is_refused_naming_both(length: int) -> None:
    with pytest.raises(EmbeddingShapeError) as refused:
        BUILDER.build(text=None, embedding=np.ones(length))
    assert str(length) in refused.value.message
    assert str(ENCODER.dimension) in refused.value.message
    assert refused.value.field == "/embedding"


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -math.inf])
def test_an_embedding_without_direction_is_refused(value: float) -> None:
    embedding = np.zeros(ENCODER.dimension)
    embedding[3] = value
    with pytest.raises(InvalidInputError) as refused:
        BUILDER.build(text=None, embedding=embedding)
    assert refused.value.field == "/embedding"


def test_caller_features_have_columns_of_their_own_and_missing_ones_are_zero() -> None:
    builder = make_builder(CALLER)
    embedding = ENCODER.encode_now("hello")
    context = builder.build(text="hello", embedding=embedding, caller={"hour": 2.0})
    group = builder.schema.groups[-1]
    expected = [0.0, np.float32(math.asinh(2.0) / math.sqrt(2))]
    np.testing.assert_allclose(context.x[group.start : group.stop], expected)
    assert context.facts["hour"] == 2.0
    np.testing.assert_array_equal(context.x[: group.start], BUILDER.build(text="hello", embedding=embedding).x)
    assert builder.build(text=None, embedding=None, caller={"vip": 1.0}).x[group.start] > 0


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_a_caller_feature_must_be_known_and_finite(value: float) -> None:
    builder = make_builder(CALLER)
    with pytest.raises(InvalidInputError) as odd:
        builder.build(text=None, embedding=ENCODER.encode_now("x"), caller={"vip": value})
    assert odd.value.field == "/features/vip"
    with pytest.raises(InvalidInputError, match="vip, hour") as unknown:
        builder.build(text=None, embedding=None, caller={"weight": 1.0})
    assert unknown.value.field == "/features/weight"
    with pytest.raises(InvalidInputError, match="none"):
        BUILDER.build(text=None, embedding=None, caller={"weight": 1.0})


def test_the_schema_hash_changes_with_encoder_maps_and_caller_features() -> None:
    assert make_builder().schema == BUILDER.schema
    assert make_builder(CALLER).schema.hash != BUILDER.schema.hash
    assert make_builder(CALLER[::-1]).schema.hash != make_builder(CALLER).schema.hash


def test_maps_of_another_encoder_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="fitted for encoder"):
        ContextBuilder(encoder_id="other@1", maps=MAPS)


@pytest.mark.parametrize("names", [("vip", "vip"), ("chars",)])
def test_caller_features_need_names_of_their_own(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="names of their own"):
        make_builder(names)


def test_contexts_of_many_queries_are_those_of_each_alone() -> None:
    builder = make_builder(CALLER)
    texts = ["", "hello", "def f(x):\n    return x  # (A) or (B)?" * 40, "日本語の質問です。", None, "12 + 30 = ?"]
    embeddings = [ENCODER.encode_now("a" if text is None else text) for text in texts]
    described = [
        builder.describe(
            text=text,
            embedding=None if row % 3 == missing else 2.5 * embedding,
            turns=row,
            tools=missing,
            caller={"hour": float(row)} if row % 2 else None,
        )
        for missing in range(-1, 3)
        for row, (text, embedding) in enumerate(zip(texts, embeddings, strict=True))
    ]
    for one, together in zip(described, builder.contexts(described), strict=True):
        [alone] = builder.contexts([one])
        np.testing.assert_array_equal(together.x, alone.x)
        assert (together.cluster, together.facts) == (alone.cluster, alone.facts)
        assert (together.cluster == -1) == (one.unit is None)
