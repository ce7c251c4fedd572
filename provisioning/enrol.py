"""`alumiguard enrol`: introduce this box to its receiver, once, with a token from the central team."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provisioning.answers import DEFAULT_CONFIG, ConfigPath, Json, fail, print_json, shown, verb
from provisioning.configuration import read

if TYPE_CHECKING:
    from appliance.config import BoxConfig
    from sync.identity import Identity

ANSWER_SECONDS = 20.0
MAX_TOKEN_BYTES = 4096


@verb
def enrol(
    config: ConfigPath = DEFAULT_CONFIG,
    receiver: Annotated[
        str | None, typer.Option(metavar="URL", help="The receiver; without it, the one under [uplink].")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The first line is the token.")
    ] = None,
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read the token from stdin.")] = False,
    as_json: Json = False,
) -> None:
    """Enrol this box at its receiver.

    The keys are made on the box and never leave it. Call it as the user that the box runs as. A token works
    once; it is never taken from the command line, where others can read it.

    Exit status: 0 enrolled; 1 not enrolled.
    """
    box = read(config)
    url = receiver or (box.uplink.receiver if box.uplink is not None else None)
    if url is None:
        raise fail(
            config, "no receiver is named", "give --receiver URL, or write [uplink] receiver into the file"
        )
    identity = introduce(box, url, token(token_file, from_stdin=token_stdin))
    if as_json:
        print_json({"box": identity.box, "receiver": url, "log_key": str(identity.log_verifier)})
        return
    print(f"box {identity.box} is enrolled at {shown(url)}")
    print(f"its log's public key, for `alumiguard audit verify --key`: {identity.log_verifier}")
    print(f"next: {next_step(box, config, url)}")


def next_step(box: "BoxConfig", config: Path, url: str) -> str:
    """What is still to do before records reach the receiver."""
    start = f"alumiguard run --config {shown(config)}"
    section = f'[uplink]\nreceiver = "{shown(url)}"'
    if box.uplink is None:
        return f"add these two lines to {shown(config)}, then start or restart the box ({start}):\n{section}"
    if box.uplink.receiver.rstrip("/") != url.rstrip("/"):
        elsewhere = f"{shown(config)} names another receiver, {shown(box.uplink.receiver)}"
        return f"{elsewhere}; write this there, then start or restart the box ({start}):\n{section}"
    return f"a box that runs notices this by itself within seconds; else start it: {start}"


def token(file: Path | None, *, from_stdin: bool) -> str:
    """The token, from where it was said to be.

    Raises:
        Failure: if it was not said, or there is none.
    """
    if (file is None) == (not from_stdin):
        raise fail(
            "enrol",
            "no token, or two",
            "give --token-file FILE or --token-stdin; the central team makes tokens",
        )
    try:
        text = file.read_text(encoding="utf-8") if file is not None else sys.stdin.read(MAX_TOKEN_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise fail(file, f"the token cannot be read ({error})", "name a file that holds the token") from None
    found = text.partition("\n")[0].strip()
    if not found or not found.isascii():
        raise fail(
            file or "stdin", "there is no token in its first line", "put the token there, and nothing else"
        )
    return found


def introduce(box: "BoxConfig", url: str, one_use: str) -> "Identity":
    """Ask the receiver, and keep its answer in the storage folder.

    Raises:
        Failure: if it says no, or nobody answers.
    """
    import httpx

    from sync import identity

    async def ask() -> identity.Identity:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as client:
            return await identity.enrol(client, box.storage.identity, box.box.id, box.box.site, one_use)

    try:
        return asyncio.run(ask())
    except identity.EnrolmentRefused as error:
        raise fail(url, error, "ask the central team for a new token for this box and site") from None
    except identity.ReceiverUnreachable as error:
        raise fail(url, error, "check it with `alumiguard check`, then enrol again") from None
    except identity.AlreadyEnrolled as error:
        raise fail(box.storage.identity, error, "nothing to do, unless the receiver has changed") from None
    except (identity.IdentityError, OSError, httpx.InvalidURL) as error:
        raise fail(box.storage.identity, error, "mend that, then enrol again") from None
