"""The `alumiguard-receiver` command. Every verb works on the data folder, served or not."""

import dataclasses
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.exc import SQLAlchemyError

from cloud_receiver import boxes, keys
from cloud_receiver.auth import Role
from cloud_receiver.receiver import Receiver, Settings, open_receiver

_STOP_SECONDS = 10
"""A stopping server waits this long for batches that are on their way in; the box would send them again."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # an unexpected failure shows Python's own traceback
    rich_markup_mode=None,
    help="Take in the signed logs of AlumiGuard boxes, and give their records back.",
)
token_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Enrolment tokens for boxes.")
key_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="API keys for people and programs.")
box_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The boxes that enrolled.")
app.add_typer(token_app, name="token")
app.add_typer(key_app, name="key")
app.add_typer(box_app, name="box")

Data = Annotated[
    Path,
    typer.Option("--data", envvar="ALUMIGUARD_RECEIVER_DATA", help="The receiver's folder; made if need be."),
]
DatabaseUrl = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="ALUMIGUARD_RECEIVER_DATABASE",
        help="SQLAlchemy URL; without it, SQLite in the folder.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command()
def serve(
    data: Data,
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes a free one.")] = "127.0.0.1:8443",
    database: DatabaseUrl = "",
    as_json: Json = False,
) -> None:
    """Serve the HTTP API until stopped. The log goes to standard output as JSON lines."""
    import uvicorn

    from cloud_receiver.app import create_app
    from cloud_receiver.log_setup import set_up_log

    with _errors_told(as_json=as_json):
        receiver = open_receiver(Settings(data, database))
        listening = _listen(listen)
    host, port = listening.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    text = (
        f"Receiver at {url}, data in {data.resolve()}\n"
        f"Next: alumiguard-receiver token create --site SITE --data {data}"
    )
    _tell(as_json, {"url": url, "data": str(data.resolve())}, text)
    set_up_log()
    config = uvicorn.Config(
        create_app(receiver),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listening])
    receiver.database.close()


@token_app.command("create")
def token_create(
    data: Data,
    site: Annotated[str, typer.Option(help="The site that the box stands at.")],
    box: Annotated[
        str | None,
        typer.Option(help="Only for this box; such a token may also replace its keys or take it back."),
    ] = None,
    expires: Annotated[int, typer.Option(help="Minutes until it is worthless.")] = 60,
    database: DatabaseUrl = "",
    as_json: Json = False,
) -> None:
    """Make a token that enrols one box, once. It is shown now and never again."""
    with _receiver(data, database, as_json=as_json) as receiver:
        made = boxes.create_token(receiver, site, box, timedelta(minutes=expires))
        text = (
            f"{made.token}\n"
            f"For one box at {site}, until {made.expires_at}. It is not shown again.\n"
            "Next: put it into a file on the box and run `alumiguard enrol --token-file FILE`"
        )
        _tell(as_json, dataclasses.asdict(made), text)


@key_app.command("create")
def key_create(
    data: Data,
    role: Annotated[Role, typer.Option(help="reader: boxes, records, metrics; admin: security events too.")],
    name: Annotated[str, typer.Option(help="Whose key it is, for the log.")],
    database: DatabaseUrl = "",
    as_json: Json = False,
) -> None:
    """Make an API key. It is shown now and never again."""
    with _receiver(data, database, as_json=as_json) as receiver:
        key = keys.create_key(receiver, name, role)
        text = f"{key}\nThe {role} key {name!r}. Shown only now.\nNext: send it as `Authorization: Bearer`"
        _tell(as_json, {"key": key, "name": name, "role": role.value}, text)


@key_app.command("revoke")
def key_revoke(
    data: Data,
    name: Annotated[str, typer.Argument(help="The name it was created with.")],
    database: DatabaseUrl = "",
    as_json: Json = False,
) -> None:
    """Refuse an API key from its next request on."""
    with _receiver(data, database, as_json=as_json) as receiver:
        keys.revoke_key(receiver, name)
        text = f"The key {name!r} is refused from now on.\nNext: `key create` makes another"
        _tell(as_json, {"revoked": name}, text)


@box_app.command("revoke")
def box_revoke(
    data: Data,
    box: Annotated[str, typer.Argument(help="The box's name.")],
    database: DatabaseUrl = "",
    as_json: Json = False,
) -> None:
    """Refuse a box from its next request on. What it sent is kept."""
    with _receiver(data, database, as_json=as_json) as receiver:
        boxes.revoke(receiver, box)
        text = f"The box {box} is refused from now on.\nNext: `token create --box {box}` would take it back"
        _tell(as_json, {"revoked": box}, text)


@box_app.command("list")
def box_list(data: Data, database: DatabaseUrl = "", as_json: Json = False) -> None:
    """Show every box, when it was last heard, and what is held of it."""
    with _receiver(data, database, as_json=as_json) as receiver:
        views = boxes.list_boxes(receiver)
        lines = [
            f"{view.box}  {view.site}  {view.records} records  last heard {view.last_contact or 'never'}"
            + (f"  revoked {view.revoked_at}" if view.revoked_at else "")
            for view in views
        ]
        text = "\n".join(lines) or "No box is enrolled.\nNext: alumiguard-receiver token create --site SITE"
        _tell(as_json, {"boxes": [view.model_dump(mode="json") for view in views]}, text)


@contextmanager
def _receiver(data: Path, database: str, *, as_json: bool) -> Iterator[Receiver]:
    with _errors_told(as_json=as_json):
        receiver = open_receiver(Settings(data, database))
        try:
            yield receiver
        finally:
            receiver.database.close()


@contextmanager
def _errors_told(*, as_json: bool) -> Iterator[None]:
    """Turn what a person can put right into a sentence and exit status 1."""
    try:
        yield
    except (boxes.BoxError, keys.ApiKeyError, SQLAlchemyError, OSError) as error:
        sentence = str(error)
        if isinstance(error, SQLAlchemyError | OSError):
            sentence = f"{error}; check that the --data folder and --database can be reached and written"
        print(json.dumps({"error": sentence}) if as_json else sentence, file=sys.stderr)
        raise typer.Exit(1) from error


def _listen(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise boxes.BoxError(f"--listen {listen!r} is not HOST:PORT; give for example 127.0.0.1:8443")
    try:
        return socket.create_server(
            (host.strip("[]"), int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise boxes.BoxError(f"cannot listen on {listen}: {error}; give another --listen") from error


def _tell(as_json: bool, facts: dict[str, Any], text: str) -> None:
    print(json.dumps(facts) if as_json else text, flush=True)


if __name__ == "__main__":
    app()
