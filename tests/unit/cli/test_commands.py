"""Help, usage errors and output of the commands, without a daemon."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from banditd.cli import commands
from banditd.core.errors import ConfigurationError
from banditd.daemon.prior_file import read_prior
from banditd.settings import ApiKeySettings

NAMES = sorted(commands.commands)


def invoke(*arguments: str, **extra: Any):
    return CliRunner().invoke(commands, list(arguments), **extra)


def test_the_contract_of_commands_is_kept() -> None:
    assert set(NAMES) >= {
        "serve", "migrate", "check-config", "route", "reward", "arms", "stats", "simulate", "replay", "fit-prior",
        "encoder", "rebuild", "export", "keys", "backup", "restore", "copy", "apply",
    }  # fmt: skip


def every_command(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and its subcommands, with the words that call them."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from every_command(below, (*path, name))


@pytest.mark.parametrize(
    ("path", "command"), list(every_command(commands))[1:], ids=lambda v: " ".join(v) if isinstance(v, tuple) else ""
)
def test_every_command_and_option_explains_itself_with_an_example(
    path: tuple[str, ...], command: click.Command
) -> None:
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    _, _, examples = result.output.partition("Example")
    lines = [line.strip() for line in examples.splitlines() if "banditd" in line]
    assert any("banditd" in line and path[-1] in line for line in lines), lines
    assert "\b" not in result.output
    unsaid = [option.name for option in command.params if isinstance(option, click.Option) and not option.help]
    assert unsaid == []


def test_replay_has_every_option_of_its_contract() -> None:
    shown = invoke("replay", "--help").output
    for option in (
        "--pool", "--split", "--warmup-split", "--policy", "--cost-weight", "--budget", "--limit", "--seeds",
        "--order", "--reward-delay", "--json", "--plot", "--url", "--reward-rate", "--feedback", "--warmup-rows",
        "--warmup-policy", "--prior", "--prior-worth", "--save-prior", "--price",
    ):  # fmt: skip
        assert option in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["reward", "some-id"],
        ["reward", "some-id", "0.5", "--retract"],
        ["reward", "some-id", "splendid"],
        ["replay", "somewhere", "--cost-weight", "1", "--budget", "1"],
        ["replay", "somewhere", "--order", "sideways"],
        ["replay", "somewhere", "--feedback", "thumb", "--url", "http://127.0.0.1:1"],
        ["replay", "somewhere", "--reward-rate", "0"],
        ["replay", "somewhere", "--prior-worth", "10"],
        ["replay", "somewhere", "--price", "small=1"],
        ["replay", "somewhere", "--price", "small=1,-2"],
        ["replay", "somewhere", "--price", "small=nan,1"],
        ["replay", "somewhere", "--save-prior", "prior.json", "--url", "http://127.0.0.1:1"],
        ["export"],
        ["replay", "somewhere", "--warmup-rows", "1"],
        ["stats", "--contexts", "--report"],
        ["encoder", "build", "--model", "other"],
        ["simulate", "--requests", "0"],
        ["serve", "--port", "70000"],
        ["arms", "set", "small"],
        ["nonsense"],
    ],
)
def test_wrong_usage_ends_with_code_two_and_a_sentence(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.output


def test_a_created_key_is_shown_once_and_its_entry_is_valid_configuration() -> None:
    made = json.loads(invoke("keys", "create", "--name", "gateway", "--scope", "read", "--json").output)
    entry = ApiKeySettings.model_validate(made["entry"])
    assert entry.sha256.get_secret_value() == hashlib.sha256(made["key"].encode()).hexdigest()
    assert entry.scopes == ("read",)
    other = json.loads(invoke("keys", "create", "--name", "gateway", "--json").output)
    assert other["key"] != made["key"]


def test_the_key_entry_for_people_can_be_pasted_into_yaml() -> None:
    shown = invoke("keys", "create", "--name", 'a "quoted" name').output
    (entry,) = yaml.safe_load(shown[shown.index("  - name") :])
    assert entry["name"] == 'a "quoted" name'
    assert len(entry["sha256"]) == 64


def test_check_config_prints_what_holds_and_hides_secrets(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("database: {url: 'postgresql://me:swordfish@db/x'}\nserver: {port: 9000}\n", encoding="utf-8")
    result = invoke("check-config", "-c", str(config))
    assert result.exit_code == 0
    assert "swordfish" not in result.output
    assert yaml.safe_load(result.output)["server"]["port"] == 9000
    assert json.loads(invoke("check-config", "-c", str(config), "--json").output)["server"]["port"] == 9000
    assert json.loads(invoke("check-config", str(config), "--json").output)["server"]["port"] == 9000


def test_check_config_tries_the_examples_of_constraints(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    example = {"input": "the password is hunter2", "holds": True}
    constraint = {"name": "secrets", "action": "force", "arms": ["own"], "patterns": ["(?i)password"]}

    def checked(*examples: dict[str, object]) -> Any:
        arms = [{"arm": "own"}, {"arm": "rented"}]
        policy = {"arms": arms, "constraints": [{**constraint, "examples": examples}]}
        config.write_text(json.dumps({"policies": {"default": policy}}), encoding="utf-8")
        return invoke("check-config", "-c", str(config))

    assert checked(example, {"input": "a word", "holds": False}).exit_code == 0
    wrong = checked(example, {"input": "a word", "holds": True}).exception
    assert isinstance(wrong, ConfigurationError)
    assert "secrets does not hold for 'a word'" in str(wrong)


def test_check_config_tries_what_is_detected_and_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    examples = [{"input": "Why was 4111 1111 1111 1111 charged?", "holds": True}, {"input": "1234", "holds": False}]
    constraint = {"name": "card", "action": "forbid", "arms": ["rented"], "detect": ["pii"], "examples": examples}
    policy = {"arms": [{"arm": "own"}, {"arm": "rented"}], "constraints": [constraint]}
    config.write_text(json.dumps({"policies": {"default": policy}}), encoding="utf-8")
    assert invoke("check-config", "-c", str(config)).exit_code == 0
    monkeypatch.setitem(sys.modules, "re2", None)
    wrong = invoke("check-config", "-c", str(config)).exception
    assert isinstance(wrong, ConfigurationError)
    assert "pip install 'banditd[detectors]'" in str(wrong)


GOLDEN = (
    "{upstreams: {u: {kind: echo}}, judges: {q: {upstream: u, model: m}}, "
    "policies: {default: {drift: {golden: {file: nowhere.jsonl, judge: q, usd_per_day: 1}}}}}"
)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("server: {api_keys: [{name: a, sha256: abc, scopes: [read]}]}", "SHA-256"),
        ("database: {url: 'mysql://me@db/x'}", "database.url"),
        ("policies: {default: {kind: thomson}}", "thomson"),
        ("policies: {default: {prices_file: PRICES}}", "prices.yaml"),
        (GOLDEN, "nowhere.jsonl"),
    ],
)
def test_check_config_finds_what_a_start_would_refuse(tmp_path: Path, line: str, place: str) -> None:
    config, prices = tmp_path / "c.yaml", tmp_path / "prices.yaml"
    prices.write_text("small: {usd_per_mtok_in: cheap}\n", encoding="utf-8")
    config.write_text(line.replace("PRICES", str(prices)), encoding="utf-8")
    result = invoke("check-config", "-c", str(config))
    assert isinstance(result.exception, ConfigurationError)
    assert place in str(result.exception)


def test_a_price_file_that_is_not_there_yet_is_named(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"policies: {{default: {{prices_file: {tmp_path / 'later.yaml'}}}}}", encoding="utf-8")
    result = invoke("check-config", "-c", str(config))
    assert result.exit_code == 0
    assert "policies.default.prices_file cannot be read yet" in result.stderr


def test_a_bad_configuration_ends_with_code_two_and_the_place(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("server: {prot: 9000}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "banditd", "check-config", "-c", str(config)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "server.prot" in done.stderr
    assert "Traceback" not in done.stderr


def write_replay_folder(place: Path) -> Path:
    rows = range(60)
    place.mkdir()
    prompts = "".join(json.dumps({"prompt": f"question number {i}"}) + "\n" for i in rows)
    (place / "prompts.jsonl").write_text(prompts, encoding="utf-8")
    (place / "outcomes.csv").write_text("id,good,bad\n" + "".join(f"{i},1,0\n" for i in rows), encoding="utf-8")
    return place


def test_a_replay_saves_what_it_learned_and_another_starts_from_it(tmp_path: Path) -> None:
    folder, prior = write_replay_folder(tmp_path / "set"), tmp_path / "prior.json"
    cold = invoke("replay", str(folder), "--save-prior", str(prior), "--json", "-")
    assert cold.exit_code == 0, cold.output
    saved = json.loads(prior.read_text(encoding="utf-8"))
    assert (saved["kind"], saved["rewards"]) == ("banditd-prior", 60.0)
    assert "seed 0" in saved["source"]
    warm = invoke("replay", str(folder), "--prior", str(prior), "--prior-worth", "50", "--json", "-")
    content = json.loads(warm.stdout)
    assert content["conditions"]["prior"] == {"source": saved["source"], "worth_rewards": pytest.approx(50.0)}
    assert content["reward"]["mean"] >= json.loads(cold.stdout)["reward"]["mean"]
    assert "worth 50 rewards" in invoke("replay", str(folder), "--prior", str(prior), "--prior-worth", "50").output
    other = invoke("replay", str(folder), "--pool", "good", "--prior", str(prior), "--json", "-")
    assert "arms bad are not in this pool" in json.loads(other.stdout)["notes"][-1]


def test_an_evaluation_becomes_a_prior_file_that_a_replay_and_a_daemon_start_from(tmp_path: Path) -> None:
    folder, prior, config = write_replay_folder(tmp_path / "set"), tmp_path / "prior.json", tmp_path / "c.yaml"
    # The file is named already and not there yet: that must not keep anybody from making it.
    config.write_text(
        f"policies: {{default: {{prior_file: {prior}, prior_worth_rewards: 30, arms: [{{arm: good}}]}}}}\n",
        encoding="utf-8",
    )
    shown = invoke("fit-prior", str(folder), str(prior), "-c", str(config))
    assert shown.exit_code == 0, shown.output
    assert "evaluation set, 60 rows: worth 30 rewards" in " ".join(shown.stdout.split())
    assert f"wrote {prior}" in shown.stdout
    assert "has no arm bad" in shown.stderr
    told = json.loads(invoke("fit-prior", str(folder), str(prior), "-c", str(config), "--json").stdout)
    assert (told["rewards"], told["worth_rewards"], told["unknown_arms"]) == (120.0, 30.0, ["bad"])
    assert [(arm["arm"], arm["rewards"], arm["mean_reward"]) for arm in told["arms"]] == [
        ("good", 60, 1.0),
        ("bad", 60, 0.0),
    ]
    cold = json.loads(invoke("replay", str(folder), "--json", "-").stdout)
    warm = json.loads(invoke("replay", str(folder), "--prior", str(prior), "--json", "-").stdout)
    assert cold["reward"]["mean"] < warm["reward"]["mean"] == 1.0
    assert invoke("check-config", "-c", str(config)).exit_code == 0


def test_a_prior_is_fitted_with_the_features_that_the_policy_is_sent(tmp_path: Path) -> None:
    folder, prior, config = write_replay_folder(tmp_path / "set"), tmp_path / "prior.json", tmp_path / "c.yaml"
    lines = (folder / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.dumps(json.loads(line) | {"features": {"urgent": i % 2}}) for i, line in enumerate(lines)]
    (folder / "prompts.jsonl").write_text("\n".join(asked), encoding="utf-8")
    config.write_text("policies: {default: {caller_features: [urgent], arms: [{arm: good}]}}\n", encoding="utf-8")
    assert invoke("fit-prior", str(folder), str(prior), "-c", str(config)).exit_code == 0
    fitted = read_prior(prior)
    assert fitted.arms["good"].n_features == 65
    assert fitted.arms["good"].gram[-1, -1] > 0
    config.write_text("policies: {default: {arms: [{arm: good}]}}\n", encoding="utf-8")
    unknown = invoke("fit-prior", str(folder), str(prior), "-c", str(config))
    assert "'urgent'" in str(unknown.exception)
    assert invoke("fit-prior", str(folder), str(prior), "-c", str(config), "--policy", "other").exit_code == 2


def test_a_prior_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    folder, prior = write_replay_folder(tmp_path / "set"), tmp_path / "prior.json"
    missing = invoke("replay", str(folder), "--prior", str(prior))
    assert isinstance(missing.exception, ConfigurationError)
    invoke("replay", str(folder), "--save-prior", str(prior), "--json", "-")
    prior.write_text(
        prior.read_text(encoding="utf-8").replace('"rewards": 60.0', '"rewards": 61.0'), encoding="utf-8"
    )
    config = tmp_path / "c.yaml"
    config.write_text(f"policies: {{default: {{prior_file: {prior}}}}}\n", encoding="utf-8")
    for result in (
        invoke("replay", str(folder), "--prior", str(prior)),
        invoke("check-config", "-c", str(config)),
    ):
        assert isinstance(result.exception, ConfigurationError)
        assert "prior.json" in str(result.exception)
        assert "checksum" in str(result.exception)
    for wrong, mend in (("kind: thomson", "did you mean 'thompson'?"), ("options: {nope: 1}", "its options:")):
        config.write_text(f"policies: {{default: {{{wrong}}}}}\n", encoding="utf-8")
        assert mend in str(invoke("check-config", "-c", str(config)).exception)
    config.write_text("policies: {default: {prior_worth_rewards: 10}}\n", encoding="utf-8")
    refused = invoke("check-config", "-c", str(config)).exception
    assert "prior_file" in str(refused)


def test_the_blas_threads_are_limited_before_numpy_is_imported() -> None:
    code = (
        "import sys; sys.argv = ['banditd', '--version']\n"
        "from banditd.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "import os; assert os.environ['OPENBLAS_NUM_THREADS'] == '1' and 'numpy' not in sys.modules\n"
        "import numpy; print('fine')"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "fine", done.stderr


def test_a_plot_that_cannot_be_drawn_is_refused_before_the_replay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("banditd.replay.plot.find_spec", lambda _: None)
    played: list[object] = []
    monkeypatch.setattr("banditd.replay.engine.run", lambda *given: played.append(given))
    result = invoke("replay", str(tmp_path), "--plot", str(tmp_path / "c.png"))
    assert result.exit_code != 0
    assert "banditd[tools]" in f"{result.output}{result.exception}"
    assert not played


def test_policies_that_are_shown_can_be_read_again(tmp_path: Path) -> None:
    recipe = {"kind": "agree", "members": ["a", "b"], "else": "c"}
    arms = [{"arm": "a"}, {"arm": "b"}, {"arm": "c"}, {"arm": "duo", "recipe": recipe}]
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(yaml.safe_dump({"policies": {"default": {"arms": arms}}}))
    shown = yaml.safe_load(invoke("check-config", str(first)).output)["policies"]
    second.write_text(yaml.safe_dump({"policies": shown}))
    assert yaml.safe_load(invoke("check-config", str(second)).output)["policies"] == shown
    assert shown["default"]["arms"][3]["recipe"]["else"] == "c"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_that_finds_no_room_is_said_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "banditd", "check-config", "--reference"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "banditd: the output is incomplete: No space left on device\n"
