"""The learning bench: what it plays, how it adds up, what it keeps. No peer's package is needed here."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from bench.learning import __main__ as program
from bench.learning import cases as catalogue
from bench.learning import jobs, policies, report, standing, tables
from bench.learning.cache import Cache, Job, make_jobs
from bench.learning.cases import CASES, Case
from bench.learning.ceilings import FullInformation, NoExploration, known_scales
from bench.learning.own import AfterUniform, Sparse, in_process
from bench.learning.play import Dearest, dearest_arm, figures, fixed_arms, play_once
from bench.learning.policies import BY_NAME, REFERENCE
from bench.learning.prepared import prepare
from bench.learning.primed import AfterEvaluation
from bench.learning.summary import interval, summarise
from tests.one_query import predict

from banditd.bandit.policies.base import PolicySettings
from banditd.replay.dataset import ReplayData
from banditd.replay.decider import Decider, InProcessDecider, Row, Served
from banditd.replay.engine import run
from banditd.replay.options import ReplayOptions


def _result(value: float, *, fixed: float = 0.5) -> dict[str, object]:
    phases = {"all": value, "first_500": value / 2, "last_third": value + 0.1}
    return {
        "headroom": phases,
        "gap": {name: one - fixed for name, one in phases.items()},
        "fixed_headroom": fixed,
        "curve": [0.0] * 40,
        "choose_us": 10.0,
        "update_us": None,
        "rows": 80,
    }


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """Two cases over one folder: ``small`` answers sums, ``large`` poems and costs more, ``bad`` nothing."""
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    sums = generator.random(400) < 0.5
    texts = [
        f"Compute {i} + {i} * 7" if one else f"Write a tender poem on love, number {i}" for i, one in enumerate(sums)
    ]
    with (folder / "prompts.jsonl").open("w") as file:
        for text, one in zip(texts, sums, strict=True):
            file.write(json.dumps({"prompt": text, "category": "sums" if one else "poems"}) + "\n")
    small = np.where(sums, 0.9, 0.2) > generator.random(400)
    large = np.where(sums, 0.3, 0.9) > generator.random(400)
    with (folder / "outcomes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "small", "large", "bad", "small|cost_usd", "large|cost_usd", "bad|cost_usd"])
        for i in range(400):
            writer.writerow([i, int(small[i]), int(large[i]), 0, 0.001, 0.01, 0.001])
    monkeypatch.setenv("BANDITD_DATA", str(tmp_path / "data"))
    made = [
        Case(name=f"tiny-{weight}", dataset="tiny", pool="all", cost_weight=weight, counted=counted)
        for weight, counted in ((0.0, True), (0.1, True), (0.3, False))
    ]
    monkeypatch.setattr(catalogue, "CASES", tuple(made))
    return made


# ---------------------------------------------------------------- cases


def test_the_headline_is_the_mean_over_the_sixteen_cases_of_the_design_study() -> None:
    counted = [case for case in CASES if case.counted]
    pools = {(case.dataset, case.pool): set() for case in counted}
    for case in counted:
        pools[case.dataset, case.pool].add(case.cost_weight)
    three = {0.0, 0.1, 0.3}
    assert pools == {
        ("bfcl2408", "api12"): three,
        ("bfcl2408", "mid10"): three,
        ("zeroeval3", "api9"): three,
        ("paretobandit4", "all"): three,
        ("mmlu_pro", "mid8"): three,
        ("ulab_nim9", "all"): {0.0},
    }
    assert len(counted) == 16
    assert {case.limit for case in counted if case.dataset == "mmlu_pro"} == {5000}
    assert len({case.name for case in CASES}) == len(CASES)


def test_cases_are_chosen_by_what_their_names_begin_with(tiny: list[Case]) -> None:
    assert catalogue.select([], quick=False) == tiny
    assert [case.name for case in catalogue.select(["tiny-0.1"], quick=False)] == ["tiny-0.1"]
    assert {case.limit for case in catalogue.select([], quick=True)} == {catalogue.QUICK_ROWS}
    with pytest.raises(ValueError, match="No case 'huge'"):
        catalogue.select(["huge"], quick=False)


def test_the_pools_of_all_arms_are_played_beside_the_sixteen() -> None:
    whole = [case for case in CASES if case.pool == "all" and case.dataset in {"bfcl2408", "zeroeval3"}]
    assert [case.name for case in whole] == [
        f"{dataset}-all-{weight}" for dataset in ("bfcl2408", "zeroeval3") for weight in ("0", "0.1", "0.3")
    ]
    assert not any(case.counted for case in whole)


@pytest.mark.parametrize(
    "name", [REFERENCE, "uniform", "LinUCB, PCA-25 + bias, alpha 0.5", "ceiling: every arm's score is told"]
)
def test_scores_that_are_missing_do_not_break_a_pass(tiny: list[Case], name: str) -> None:
    file = tiny[0].folder / "outcomes.csv"
    head, *rows = file.read_text().splitlines()
    for number in range(0, 400, 3):  # a third of the rows lacks one arm's score
        cells = rows[number].split(",")
        cells[1 + number % 2] = ""
        rows[number] = ",".join(cells)
    file.write_text("\n".join([head, *rows]) + "\n")
    prepared = prepare(dataclasses.replace(tiny[1], name="tiny with gaps"))
    assert np.isnan(prepared.plan.data.score).any()
    played = play_once(prepared, BY_NAME[name], 0)
    assert all(np.isfinite(value) for value in played["headroom"].values())
    assert np.isfinite(played["curve"]).all()


# ---------------------------------------------------------------- adding up


def test_an_interval_is_students() -> None:
    one = interval([1.0, 2.0, 3.0])
    assert one.mean == pytest.approx(2.0)
    assert one.half == pytest.approx(4.302653 / 3**0.5, rel=1e-6)  # t(0.975, 2) times 1 / sqrt(3)
    assert interval([5.0]).half is None
    with pytest.raises(ValueError, match="at least one"):
        interval([])


def test_pairing_takes_the_shuffle_out_of_the_difference() -> None:
    shuffle = [0.1, 0.5, 0.9]
    results = {}
    for seed, value in enumerate(shuffle):
        for case in ("a", "b"):
            results[case, "mine", seed] = _result(value)
            results[case, "peer", seed] = _result(value - 0.2)
    mine, peer = summarise(results, ["mine", "peer"], ["a", "b"], reference="mine")
    assert mine.against is None
    assert mine.headroom["all"].half > 0.5
    assert peer.against["all"].mean == pytest.approx(-0.2)
    assert peer.against["all"].half == pytest.approx(0.0, abs=1e-12)
    assert (peer.seeds, peer.cases, peer.choose_us, peer.update_us) == (3, 2, 10.0, None)


def test_only_shuffles_with_every_case_count_and_the_worst_case_is_named() -> None:
    results = {("a", "p", 0): _result(0.4), ("b", "p", 0): _result(0.6), ("a", "p", 1): _result(0.9)}
    (row,) = summarise(results, ["p", "never played"], ["a", "b"], reference="p")
    assert row.seeds == 1
    assert row.headroom["all"].mean == pytest.approx(0.5)
    assert row.worst_case == ("a", pytest.approx(0.4 + 0.1 - 0.5))
    assert summarise(results, ["p"], ["a", "b", "c"], reference="p") == []


def test_a_policy_scored_on_other_rows_is_not_paired() -> None:
    results = {("a", name, seed): _result(0.5) for name in ("mine", "warm") for seed in range(2)}
    rows = summarise(results, ["mine", "warm"], ["a"], reference="mine", unpaired=["warm"])
    assert [row.against for row in rows] == [None, None]


def test_a_case_is_worse_where_the_shuffles_agree_that_it_is() -> None:
    simple, dearest = standing.SIMPLE, {case: Dearest("large", 0.4, -0.1) for case in "abcd"}
    mine = {"a": [0.7, 0.9], "b": [0.2, 0.22], "c": [0.3, 0.6], "d": [0.9, 0.9]}
    results = {}
    for case, values in mine.items():
        for seed, value in enumerate(values):
            results[case, REFERENCE, seed] = _result(value)
            if case != "d":  # where the other was not played nothing can be told
                results[case, simple, seed] = _result(value + (0.1 if case == "b" else -0.1) + 0.01 * seed)
    sheet = standing.standing_sheet("t", "h", results, list("abcd"), reference=REFERENCE, dearest=dearest)
    cells = {row[0]: row[1:] for row in sheet.rows}
    assert cells["b"] == (".210", "**−.105 ± .005**", "**−.290 ± .010**", "**−.190 ± .010**")
    assert cells["c"][1:] == ("+.095 ± .005", "−.050 ± .150", "+.050 ± .150")
    assert cells["d"] == (".900", "", "+.400 ± .000", "+.500 ± .000")
    assert f"{simple}: b; the best fixed arm: b; always the dearest arm: b." in sheet.note
    one = {key: value for key, value in results.items() if key[2] == 0}
    sheet = standing.standing_sheet("t", "h", one, ["b"], reference=REFERENCE, dearest=dearest)
    assert f"{simple}: nowhere" in sheet.note  # one shuffle tells nothing


def test_a_set_that_is_left_out_is_in_no_mean_of_the_others() -> None:
    results = {}
    for case, value in (("a", 0.2), ("b", 0.4), ("c", 0.9)):
        for seed in range(2):
            results[case, REFERENCE, seed] = _result(value)
            results[case, standing.SIMPLE, seed] = _result(value - 0.1)
    sets = {"a": "one", "b": "one", "c": "two"}
    sheet = standing.left_out_sheet("t", "h", results, sets, reference=REFERENCE)
    assert sheet is not None
    assert [row[:3] for row in sheet.rows] == [
        ("*none*", "3", ".500 ± .000"),
        ("one", "1", ".900 ± .000"),
        ("two", "2", ".300 ± .000"),
    ]
    assert [row[4] for row in sheet.rows] == ["", ".300 ± .000", ".900 ± .000"]
    assert {cell for row in sheet.rows for cell in (row[3], row[5])} == {"", "+.100 ± .000"}
    assert standing.left_out_sheet("t", "h", results, {"a": "one"}, reference=REFERENCE) is None


def test_figures_of_the_references_themselves() -> None:
    utility = np.array([[1.0, 0.0, 0.2], [0.0, 1.0, 0.2], [1.0, 0.0, 0.2], [1.0, 0.5, 0.2]])
    category = np.array([0, 1, 0, 1])
    rows = np.array([3, 1, 0, 2])
    table = figures(utility, category, rows, np.array([1, 1, 0, 0]))  # the best arm of each category
    fixed = figures(utility, category, rows, np.zeros(4, dtype=np.intp))
    assert table["headroom"]["all"] == pytest.approx(1.0)
    assert fixed["headroom"]["all"] == pytest.approx(fixed["fixed_headroom"])
    assert fixed["gap"] == {"all": 0.0, "first_500": 0.0, "last_third": 0.0}
    assert table["gap"]["all"] == pytest.approx((3.5 - 3.0) / 4)
    assert table["curve"][-1] == pytest.approx(0.5)


# ---------------------------------------------------------------- keeping


def test_what_is_kept_is_found_again_unless_its_sources_changed(tmp_path: Path, tiny: list[Case]) -> None:
    spec = BY_NAME["uniform"]
    (job,) = make_jobs(tiny[:1], [spec], {"uniform": 1})
    Cache(tmp_path).put(job, _result(0.3))
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"case": "tiny-0.0", "pol')  # the machine stopped here
    again = Cache(tmp_path)
    assert again.get(job) == _result(0.3)
    changed = dataclasses.replace(job, key=job.key + "x")
    assert again.missing([job, changed]) == [changed]


def test_a_policys_key_changes_with_its_own_sources_only(tmp_path: Path) -> None:
    source = tmp_path / "adapter.py"
    source.write_text('"""What it is."""\na = 1  # one\n')
    spec = dataclasses.replace(BY_NAME["uniform"], sources=(source,))
    before = spec.fingerprint()
    for text, same in (('"""What it was."""\n\na = 1\n', True), ('"""What it was."""\n\na = 2\n', False)):
        source.write_text(text)
        policies._fingerprint.cache_clear()
        assert (spec.fingerprint() == before) is same
    assert BY_NAME["thompson"].fingerprint() != BY_NAME["uniform"].fingerprint()


@pytest.mark.parametrize("name", [spec.name for spec in policies.POLICIES if spec.group != "peer"])
def test_a_policys_key_changes_with_every_setting_of_its_row(name: str) -> None:
    spec = BY_NAME[name]
    settings = spec.settings or PolicySettings()
    changes: list[dict[str, object]] = [
        {"settings": dataclasses.replace(settings, floor=settings.floor / 2.0)},
        {"settings": dataclasses.replace(settings, options={**settings.options, "more": 1})},
        {"reward_delay": spec.reward_delay + 1},
        {"reward_share": spec.reward_share / 2.0},
        {"first_tenth": not spec.first_tenth},
        {"in_source_order": not spec.in_source_order},
    ]
    keys = [spec.fingerprint(), *(dataclasses.replace(spec, **change).fingerprint() for change in changes)]
    assert len(set(keys)) == len(keys)


def test_no_two_of_banditds_rows_share_a_key() -> None:
    same: dict[str, list[str]] = {}
    for spec in policies.POLICIES:
        if spec.group != "peer":
            same.setdefault(spec.fingerprint(), []).append(spec.name)
    assert [names for names in same.values() if len(names) > 1] == []


def test_what_a_result_passes_through_is_among_its_sources() -> None:
    for spec in policies.POLICIES:
        named = {file.relative_to(catalogue.ROOT).as_posix() for file in spec.sources}
        assert all(file.exists() for file in spec.sources)
        assert "bench/learning/prepared.py" in named
        if spec.group != "peer":
            parts = {f"src/banditd/{part}" for part in ("bandit", "budget", "core", "features", "replay")}
            assert {*parts, "src/banditd/services/policy.py", "bench/learning/own.py"} <= named
        if spec.group == "ceiling":
            assert Path(inspect.getfile(spec.make)) in spec.sources


def test_the_settings_of_a_row_are_those_that_it_is_played_with(tiny: list[Case]) -> None:
    prepared = prepare(tiny[0])
    for spec in policies.POLICIES:
        if spec.settings is not None:
            made = spec.decider(prepared, 0)
            assert isinstance(made, InProcessDecider)
            assert made._settings is spec.settings


def test_a_peer_that_is_not_installed_is_skipped_with_its_reason(
    tmp_path: Path, tiny: list[Case], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(policies, "find_spec", lambda _name: None)
    report = program.main(["--cache", str(tmp_path), "--policy", "river", "--workers", "1"])
    assert "river is not installed" in " ".join(capsys.readouterr().err.split())
    assert report.sheets == ()


# ---------------------------------------------------------------- playing


def test_a_tiny_folder_end_to_end_and_nothing_is_played_twice(
    tmp_path: Path, tiny: list[Case], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    linucb = "LinUCB, PCA-25 + bias, alpha 0.5"
    names = [REFERENCE, "thompson, priors from the randomised first 10 %", "uniform", linucb]
    chosen = [part for name in names for part in ("--policy", name)]
    arguments = [*chosen, "--cache", str(tmp_path / "out"), "--workers", "1", "--seeds", "2", "--peer-seeds", "3"]
    file = tmp_path / "figures.json"
    report = program.main([*arguments, "--json", str(file)])
    assert "Learning: mean over 2 cases" in capsys.readouterr().out
    rows = {row.policy: row for row in report.content["counted"]["policies"]}
    assert set(rows) == set(names)
    assert {name: row.seeds for name, row in rows.items()} == {names[0]: 2, names[1]: 2, "uniform": 3, linucb: 3}
    assert abs(rows["uniform"].headroom["all"].mean) < 0.15
    for better in (REFERENCE, names[1], linucb):
        assert rows[better].headroom["last_third"].mean > rows["uniform"].headroom["last_third"].mean + 0.3
    assert rows[names[1]].against is None
    arms = report.content["counted"]["fixed_arms"]["tiny-0.0"]
    assert list(arms)[-1] == "bad"
    assert max(arms.values()) == pytest.approx(report.results["tiny-0.0", REFERENCE, 0]["fixed_headroom"])
    written = json.loads(file.read_text())
    assert len(written["passes"]) == 3 * (2 + 2 + 3 + 3)
    assert [case["rows"] for case in written["passes"] if case["policy"] == names[1]] == [360] * 6

    def refuse(job: Job) -> dict[str, object]:
        raise AssertionError(job)

    monkeypatch.setattr(jobs, "_play", refuse)
    again = program.main(arguments)
    assert again.content["counted"] == report.content["counted"]

    document = tmp_path / "docs" / "benchmarks.md"
    document.parent.mkdir()
    document.write_text("# Benchmarks\n\nWords.\n")
    again.write(document)
    text = document.read_text()
    assert text.startswith("# Benchmarks\n\nWords.\n")
    assert f"**{REFERENCE}**" in text
    assert "best fixed arm, known in hindsight" in text
    assert "| *always the dearest arm* |" in text
    assert "### Learning: case by case, beside what is simplest" in text
    assert "with a set left out" not in text  # there is one set
    for name in ("learning-curves.png", "learning-curves-other.png"):
        assert f"(img/{name})" in text
        assert (document.parent / "img" / name).read_bytes().startswith(b"\x89PNG")
    again.write(document)
    assert document.read_text() == text


def test_the_dearest_arm_is_the_single_model_that_needs_no_hindsight(tiny: list[Case]) -> None:
    for case in tiny:
        plan = prepare(case).plan
        found, utility = dearest_arm(plan), (plan.data.score - plan.penalty).mean(axis=0)
        assert found.arm == "large"
        assert found.headroom == pytest.approx(fixed_arms(plan)["large"])
        assert found.gap == pytest.approx(utility[1] - utility.max())
    assert found.gap < 0.0  # with money at .3 the other one is better


@pytest.mark.parametrize("limit", [None, 150])
def test_a_pass_is_the_one_that_replay_plays(tiny: list[Case], limit: int | None) -> None:
    case = dataclasses.replace(tiny[1], limit=limit)
    report = run(ReplayOptions(directory=case.folder, pool="all", cost_weight=0.1, limit=limit, seeds=1, workers=1))
    (replayed,) = report.content["per_seed"]
    played = play_once(prepare(case), BY_NAME[REFERENCE], 0)
    assert played["headroom"] == pytest.approx(replayed["headroom_score"])
    assert played["rows"] == report.content["rows"]


def test_source_order_is_that_of_the_files_for_every_seed(tiny: list[Case]) -> None:
    prepared = prepare(tiny[0])
    for seed in (0, 1):
        warmup, scored = prepared.with_options(in_source_order=True).order(seed)
        assert warmup.size == 0
        assert scored.tolist() == list(range(400))
        assert prepared.with_options().order(seed)[1].tolist() != scored.tolist()


def test_only_the_zero_that_a_number_begins_with_is_left_out() -> None:
    values = (0.5, -0.25, 10.5, -10.2, 100.0, 0.0, 1.0)
    assert [tables.plain(value) for value in values] == [
        ".500",
        "−.250",
        "10.500",
        "−10.200",
        "100.000",
        ".000",
        "1.000",
    ]
    assert [tables.with_sign(value) for value in values] == [
        "+.500",
        "−.250",
        "+10.500",
        "−10.200",
        "+100.000",
        "+.000",
        "+1.000",
    ]


def test_the_note_says_what_does_not_hold_for_every_row(tiny: list[Case]) -> None:
    special = {
        "thompson, one task after another": "the interval is over the policy's draws alone",
        "thompson, priors from the randomised first 10 %": "not scored",
        "ceiling: every arm's score is told": "no router can",
    }
    shown = [REFERENCE, *special]
    for names in (shown, [REFERENCE], *([REFERENCE, name] for name in special)):
        results = {(case.name, name, 0): _result(0.5) for case in tiny for name in names}
        made = report.make_report(results, tiny, policies.POLICIES, "h.")
        note = made.sheets[0].note
        assert "the same for all" in note
        assert {name for name, words in special.items() if words in note} == set(names) - {REFERENCE}


def test_arms_that_count_as_free_are_named_where_money_counts(tiny: list[Case]) -> None:
    file = tiny[0].folder / "outcomes.csv"
    file.write_text("\n".join(line.rsplit(",", 1)[0] for line in file.read_text().splitlines()) + "\n")
    made = [dataclasses.replace(case, name=f"unpriced-{case.cost_weight}", counted=False) for case in tiny]
    results = {(case.name, REFERENCE, 0): _result(0.5) for case in made}
    (note, *_) = (sheet.note for sheet in report.make_report(results, made, policies.POLICIES, "h.").sheets)
    assert note.endswith("count as free: 1 of 3 in unpriced-0.1, 1 of 3 in unpriced-0.3.")


def test_sections_that_were_not_measured_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "b.md"
    tables.write_sections(file, ["### One\n\nold", "### Two\n\nstays"])
    tables.write_sections(file, ["### One\n\nnew"])
    text = file.read_text()
    assert "old" not in text
    assert text.index("new") < text.index("stays")


def test_the_first_tenth_is_played_by_chance_and_teaches(tiny: list[Case]) -> None:
    prepared = prepare(tiny[0])
    plan = prepared.with_options(first_tenth=True)
    first, scored = plan.order(0)
    assert (first.size, scored.size) == (40, 360)
    whole = prepared.plan.order(0)[1]
    assert np.concatenate([first, scored]).tolist() == whole.tolist()

    decider = AfterUniform(prepared, 0)
    truth = {0: 1.0, 1: 0.0, 2: 0.0}

    async def both() -> tuple[list[int], list[int]]:
        played = []
        for index in whole[:200].tolist():
            served = await decider.decide(Row(index, ""))
            await decider.reward(served, reward=truth[served.arm], cost_usd=0.0)
            played.append(served.arm)
        await decider.begin_scoring()
        assert decider.choose_us == []
        after = [(await decider.decide(Row(index, ""))).arm for index in whole[200:300].tolist()]
        return played, after

    played, after = asyncio.run(both())
    assert min(np.bincount(played, minlength=3)) > 40
    assert np.mean(np.array(after) == 0) > 0.9
    assert len(decider.choose_us) == 100


def test_sparse_rewards_are_told_for_the_same_share_of_rows_whatever_is_chosen(tiny: list[Case]) -> None:
    class Recorder:
        def __init__(self, arm: int) -> None:
            self.arm, self.told = arm, []
            self.choose_us: list[float] = []
            self.update_us: list[float] = []

        async def decide(self, row: Row) -> Served:
            return Served(self.arm, row.index)

        async def reward(self, served: Served, *, reward: float | None, cost_usd: float) -> None:
            if reward is not None:
                self.told.append(served.token)

    prepared = prepare(tiny[0])
    recorders = [Recorder(0), Recorder(1)]

    async def through(inner: Recorder) -> None:
        outer = Sparse(inner, prepared, 7, 0.3)
        for index in range(400):
            await outer.reward(await outer.decide(Row(index, "")), reward=1.0, cost_usd=0.0)

    for inner in recorders:
        asyncio.run(through(inner))
    assert recorders[0].told == recorders[1].told
    assert 80 < len(recorders[0].told) < 160


# ---------------------------------------------------------------- ceilings


def _through(decider: Decider, data: ReplayData, rows: list[int]) -> list[int]:
    """The arms that a decider is scored at on these rows."""

    async def play() -> list[int]:
        arms = []
        for index in rows:
            served = await decider.decide(Row(index, ""))
            score = float(data.score[index, served.arm])
            await decider.reward(served, reward=score, cost_usd=0.0)
            arms.append(served.arm)
        return arms

    return asyncio.run(play())


def _learned(decider: InProcessDecider, arms: tuple[str, ...]) -> np.ndarray:
    """Number of rewards and their sum, per arm."""
    sums = [decider.state.sums(arm) for arm in arms]
    return np.array([(one.n, one.wr) for one in sums])


def test_the_ceiling_of_full_information_is_told_every_score_of_the_rows_it_played(tiny: list[Case]) -> None:
    prepared = prepare(tiny[0])
    data = prepared.plan.data
    told = FullInformation(prepared, 0)
    _through(told, data, list(range(150)))
    learned = _learned(told._inner, data.arms)
    assert learned[:, 0].tolist() == [150, 150, 150]
    np.testing.assert_allclose(learned[:, 1], data.score[:150].sum(axis=0))
    assert told.choose_us and told.update_us


def test_the_ceiling_of_full_information_neither_explores_nor_looks_for_changes(tiny: list[Case]) -> None:
    prepared = prepare(tiny[1])
    data, told = prepared.plan.data, FullInformation(prepared, 0)
    assert not told._inner._settings.change_detection
    _through(told, data, list(range(200)))
    snapshot = told._inner.state.snapshot()
    means = [predict(snapshot, prepared.contexts[row])[0] for row in range(200, 300)]

    async def served() -> list[int]:
        return [(await told.decide(Row(row, ""))).arm for row in range(200, 300)]

    assert asyncio.run(served()) == (np.array(means) - prepared.penalty).argmax(axis=1).tolist()
    # The next seed draws otherwise, and is scored at the same arms.
    other = FullInformation(prepared, 1)
    assert _through(other, data, list(range(100))) == _through(FullInformation(prepared, 2), data, list(range(100)))


def test_without_exploration_the_same_is_learned_and_only_the_scored_arm_differs(tiny: list[Case]) -> None:
    prepared = prepare(tiny[0])
    data, rows = prepared.plan.data, list(range(200))
    plain, scored = in_process(prepared, 3), NoExploration(prepared, 3)
    drawn = _through(plain, data, rows)
    greedy = _through(scored, data, rows)
    np.testing.assert_array_equal(_learned(plain, data.arms), _learned(scored._inner, data.arms))
    assert drawn != greedy
    earned = [data.score[rows[100:], arms[100:]].mean() for arms in (drawn, greedy)]
    assert earned[1] >= earned[0]


def test_known_scales_are_fitted_to_every_score_and_stay(tiny: list[Case]) -> None:
    prepared = prepare(tiny[0])
    data = prepared.plan.data
    decider = known_scales(prepared, 0)
    before = decider.state.hyperparameters
    assert set(before.noise) == set(data.arms)
    # ``bad`` never earns anything: with every score known its noise is the least there is.
    assert before.noise["bad"] < 0.5 * min(before.noise["small"], before.noise["large"])
    _through(decider, data, list(range(100)))
    assert decider.state.hyperparameters is before


def test_an_evaluated_tenth_is_a_prior_and_nothing_is_learned_of_it_twice(tiny: list[Case]) -> None:
    prepared = prepare(tiny[0])
    data = prepared.plan.data
    tenth, rest = prepared.with_options(first_tenth=True).order(0)
    decider = AfterEvaluation(prepared, 0)
    _through(decider, data, tenth.tolist())
    prior = decider._inner.state.settings.prior
    assert prior is not None
    assert decider._inner.state.folded == 0
    assert {arm: sums.n for arm, sums in prior.arms.items()} == pytest.approx(dict.fromkeys(data.arms, tenth.size))
    means = [prior.arms[arm].wr / prior.arms[arm].weight for arm in data.arms]
    np.testing.assert_allclose(means, data.score[tenth].mean(axis=0))
    asyncio.run(decider.begin_scoring())
    _through(decider, data, rest[:60].tolist())
    assert decider._inner.state.folded == 60


def test_ceilings_are_no_peers_and_are_marked(tiny: list[Case]) -> None:
    names = [spec.name for spec in policies.POLICIES if spec.group == "ceiling"]
    assert len(names) == 3
    sheet = tables.summary_sheet(
        "t",
        "n",
        summarise({("a", name, 0): _result(0.5) for name in names}, names, ["a"], reference=REFERENCE),
        fixed=None,
        reference=REFERENCE,
        families={spec.name: spec.group for spec in policies.POLICIES},
    )
    assert sorted(row[0] for row in sheet.rows) == sorted(f"*{name}*" for name in names)
