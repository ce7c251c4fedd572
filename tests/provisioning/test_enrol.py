"""`alumiguard enrol` introduces a box once, and never takes a token from where others can read it."""

from pathlib import Path

import pytest

from tests.support.command import alumiguard
from tests.support.receiver_process import ServerProcess, served, told


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A receiver's folder."""
    return tmp_path / "receiver"


def token_for(data: Path, receiver: ServerProcess) -> str:
    """A new token of this receiver for the profile's site."""
    assert receiver.process.poll() is None
    return told("token", "create", "--site", "my-plant", "--data", str(data))["token"]


def test_a_box_is_enrolled_once_and_a_token_works_once(box_toml: Path, data: Path, tmp_path: Path) -> None:
    with served(data) as receiver:
        file = tmp_path / "token"
        file.write_text(f"{token_for(data, receiver)}\n")
        options = ["--config", box_toml, "--receiver", receiver.url]
        first = alumiguard("enrol", *options, "--token-file", file, "--json")
        again = alumiguard("enrol", *options, "--token-file", file)
        other = box_toml.with_name("other.toml")
        other.write_text(
            box_toml.read_text().replace('id = "line-1"', 'id = "line-2"').replace("/storage", "/storage2")
        )
        reused = alumiguard("enrol", "--config", other, "--receiver", receiver.url, "--token-file", file)
    assert first.status == 0
    assert first.answer["box"] == "line-1"
    assert first.answer["log_key"].startswith("alumiguard/line-1+")
    assert again.status == reused.status == 1
    assert "is enrolled at" in again.err
    assert "ask the central team for a new token" in reused.err


def test_a_token_comes_through_stdin_as_well(box_toml: Path, data: Path) -> None:
    with served(data) as receiver:
        token = token_for(data, receiver)
        options = ["--config", box_toml, "--receiver", receiver.url, "--token-stdin"]
        ended = alumiguard("enrol", *options, stdin=f"{token}\n")
    assert ended.status == 0
    section = f'[uplink]\nreceiver = "{receiver.url}"\n'
    assert ended.out.endswith(section), "the configuration names no receiver yet"
    assert token not in ended.out + ended.err


def test_a_receiver_that_nobody_answers_for_is_named(box_toml: Path) -> None:
    options = ["--config", box_toml, "--receiver", "http://127.0.0.1:9", "--token-stdin", "--json"]
    ended = alumiguard("enrol", *options, stdin="token\n")
    assert ended.status == 1
    assert ended.answer["problems"][0]["where"] == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("options", "stdin", "said"),
    [
        (["--receiver", "http://127.0.0.1:9"], "", "no token, or two"),
        (["--receiver", "http://127.0.0.1:9", "--token-stdin"], "\nx", "there is no token"),
        (["--receiver", "http://127.0.0.1:9", "--token-file", "/no/such"], "", "cannot be read"),
        (["--token-stdin"], "token", "no receiver is named"),
    ],
)
def test_what_is_missing_is_said_before_anybody_is_asked(
    box_toml: Path, options: list[str], stdin: str, said: str
) -> None:
    ended = alumiguard("enrol", "--config", box_toml, *options, stdin=stdin)
    assert ended.status == 1
    assert said in ended.err
    assert not (box_toml.parent / "storage").exists()
