"""The wheel is whole: built, unpacked elsewhere, and served from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest
from tests.e2e.conftest import ROOT

from banditd.cli.process import stop_daemon, wait_until_serving


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built, folder = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_migrations_encoder_and_licences(unpacked: Path) -> None:
    package = unpacked / "banditd"
    assert min(path.name for path in (package / "_migrations" / "versions").glob("0*.py")).startswith("0001")
    assert (package / "_migrations" / "env.py").exists()
    assert (package / "py.typed").exists()
    assert (package / "_config.yaml").read_bytes() == (ROOT / "config.yaml").read_bytes()
    assets = package / "assets" / "encoder"
    assert {"LICENSE", "NOTICE.md", "modules.json"} <= {path.name for path in assets.iterdir()}
    assert sum(file.stat().st_size for file in assets.rglob("*") if file.is_file()) <= 8_000_000
    assert list(unpacked.glob("banditd-*.dist-info/licenses/LICENSE"))
    assert not list(unpacked.glob("tests"))


@pytest.mark.parametrize("named", [False, True])
def test_the_unpacked_wheel_serves_where_there_is_nothing(unpacked: Path, tmp_path: Path, named: bool) -> None:
    """In an empty folder and without a source tree: the shipped configuration over the user's own database.

    named : the database is, by a variable.
    """
    data = tmp_path / "data"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BANDITD_")} | {
        "PYTHONPATH": str(unpacked), "BANDITD_LOGGING__LEVEL": "WARNING", "XDG_DATA_HOME": str(data)
    }  # fmt: skip
    if named:
        environment["BANDITD_DATABASE__URL"] = "sqlite:///mine.db"
    where = subprocess.run(
        [sys.executable, "-c", "import banditd; print(banditd.__file__)"],
        env=environment,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(unpacked)
    process = subprocess.Popen(
        [sys.executable, "-m", "banditd", "serve", "--port", "0"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = wait_until_serving(process)
        body = json.dumps({"input": "hello"}).encode()
        request = urllib.request.Request(f"{url}/v1/route", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["arm"] == "large-reasoner"  # the baseline of the shipped configuration
    finally:
        assert stop_daemon(process) == 0
    if named:
        assert (tmp_path / "mine.db").exists()
    elif sys.platform == "linux":
        assert (data / "banditd" / "banditd.db").exists()
    assert not (tmp_path / "var").exists()
