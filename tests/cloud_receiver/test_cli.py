import json
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cloud_receiver.cli import app
from tests.support.log_builder import BoxKeys
from tests.support.receiver_process import ServerProcess, run_cli, served, told
from tests.support.receiver_site import SITE

runner = CliRunner()


def enrol(server: ServerProcess, box: BoxKeys, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{server.url}/v1/enrol", headers=headers, json=box.introduction(SITE))


def test_one_command_serves_from_an_empty_folder_and_says_where(tmp_path: Path) -> None:
    with served(tmp_path / "new") as server:
        assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    assert server.process.returncode == -signal.SIGTERM


@pytest.mark.slow
def test_secrets_can_be_made_before_and_while_the_server_runs(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))
    before = told("token", "create", "--site", SITE, *data)["token"]
    with served(tmp_path) as server:
        during = told("token", "create", "--site", SITE, "--box", "line-2", *data)["token"]
        key = told("key", "create", "--role", "reader", "--name", "team", *data)["key"]
        assert enrol(server, BoxKeys("line-1"), before).status_code == 201
        assert enrol(server, BoxKeys("line-2"), during).status_code == 201
        told("box", "revoke", "line-2", *data)
        listed = httpx.get(f"{server.url}/v1/boxes", headers={"Authorization": f"Bearer {key}"}).json()
        assert told("box", "list", *data) == listed
        assert [box["box"] for box in listed["boxes"] if box["revoked_at"]] == ["line-2"]
        told("key", "revoke", "team", *data)
        denied = httpx.get(f"{server.url}/v1/boxes", headers={"Authorization": f"Bearer {key}"})
        assert denied.status_code == 401


@pytest.mark.slow
def test_several_commands_may_race_for_a_new_folder(tmp_path: Path) -> None:
    def create(name: int) -> int:
        key = ("key", "create", "--role", "reader", "--name", f"n{name}")
        return run_cli(*key, "--data", str(tmp_path / "new")).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(create, range(4))) == [0] * 4
    left = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert left == ["identity", "landing", "quarantine", "receiver.db"]


def test_the_log_is_json_line_by_line(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        httpx.get(f"{server.url}/v1/boxes")
        server.process.terminate()
        assert server.process.stdout is not None
        lines = [json.loads(line) for line in server.process.stdout]
    (refused,) = (line for line in lines if line["event"] == "refused")
    assert (refused["code"], refused["level"]) == ("unauthenticated", "warning")
    assert refused["timestamp"]


def test_keys_are_readable_by_the_owner_alone(tmp_path: Path) -> None:
    runner.invoke(app, ["box", "list", "--data", str(tmp_path / "new")])
    for name in ("ca.key", "receipt.key"):
        assert stat.S_IMODE((tmp_path / "new" / "identity" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_what_people_see_ends_with_what_to_do_next(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]
    for command in (
        ["token", "create", "--site", "s"],
        ["key", "create", "--role", "admin", "--name", "a"],
        ["key", "revoke", "a"],
        ["box", "list"],
    ):
        ended = runner.invoke(app, [*command, *data])
        assert ended.exit_code == 0, ended.output
        assert "Next: " in ended.stdout


@pytest.mark.parametrize(
    ("command", "next_step"),
    [
        (["box", "revoke", "nobody"], "box list"),
        (["key", "revoke", "nobody"], "check the name"),
        (["token", "create", "--site", "s", "--box", "A/B"], "such as line-7"),
        (["token", "create", "--site", "s", "--expires", "0"], "--expires"),
        (["serve", "--listen", "8443"], "HOST:PORT"),
        (["serve", "--listen", "127.0.0.1:99999"], "HOST:PORT"),
        (["serve", "--listen", "192.0.2.1:0"], "another --listen"),
        (["box", "list", "--database", "sqlite:////nowhere/at/all.db"], "--database"),
    ],
)
def test_every_error_says_what_to_do_next(tmp_path: Path, command: list[str], next_step: str) -> None:
    ended = runner.invoke(app, [*command, "--data", str(tmp_path)])
    assert ended.exit_code == 1
    assert next_step in ended.stderr
    as_json = runner.invoke(app, [*command, "--data", str(tmp_path), "--json"])
    assert next_step in json.loads(as_json.stderr)["error"]


def test_a_folder_that_cannot_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = runner.invoke(app, ["box", "list", "--data", str(tmp_path / "file" / "data")])
    assert (ended.exit_code, "--data" in ended.stderr) == (1, True)
