"""What lives as long as one app: its receiver, its figures, what it remembers; and who is calling it."""

import threading
import time
from dataclasses import dataclass, field
from typing import Annotated

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from obstore.exceptions import BaseError
from sqlalchemy import delete, insert
from sqlalchemy.exc import SQLAlchemyError

from cloud_receiver.answers import Health
from cloud_receiver.auth import (
    BoxCaller,
    KeyCaller,
    Role,
    SeenTokens,
    box_caller,
    check_token,
    key_caller,
    require_role,
)
from cloud_receiver.database import as_text, health
from cloud_receiver.metrics import Metrics, new_metrics
from cloud_receiver.receiver import Receiver

_HEALTH_KEPT_SECONDS = 5
"""Health is open to anyone and costs two syncs of the disk: it is asked of the disk this often at most."""

log = structlog.get_logger()


@dataclass(slots=True)
class _LastHealth:
    checked_at: float = float("-inf")
    answer: Health = field(default_factory=lambda: Health(status="failing"))
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Serving:
    """The state of one app."""

    receiver: Receiver
    metrics: Metrics = field(default_factory=new_metrics)
    seen_tokens: SeenTokens = field(default_factory=SeenTokens)
    last_health: _LastHealth = field(default_factory=_LastHealth)

    def health(self) -> Health:
        """Whether a batch could be accepted: both stores are written to, every few seconds at most."""
        last = self.last_health
        with last.lock:
            if time.monotonic() - last.checked_at >= _HEALTH_KEPT_SECONDS:
                last.answer = _check_health(self.receiver)
                last.checked_at = time.monotonic()
            return last.answer


def serving(request: Request) -> Serving:
    """The state of the app that was asked."""
    found = request.app.state.serving
    if not isinstance(found, Serving):
        raise TypeError("the app was not made by create_app")
    return found


Here = Annotated[Serving, Depends(serving)]

_api_key = HTTPBearer(auto_error=False, scheme_name="api-key", description="alumiguard-receiver key create")
_token = HTTPBearer(auto_error=False, scheme_name="enrolment-token", description="one use")
_box_jwt = HTTPBearer(auto_error=False, scheme_name="box-token", bearerFormat="JWT", description="EdDSA")

_Credentials = HTTPAuthorizationCredentials | None


def _reader(request: Request, here: Here, sent: Annotated[_Credentials, Depends(_api_key)]) -> KeyCaller:
    caller = key_caller(here.receiver.database, sent.credentials if sent else "")
    request.state.who = f"key {caller.name}"
    return caller


def _admin(caller: Annotated[KeyCaller, Depends(_reader)]) -> KeyCaller:
    require_role(caller, Role.ADMIN)
    return caller


def _token_holder(request: Request, here: Here, sent: Annotated[_Credentials, Depends(_token)]) -> str:
    bearer = sent.credentials if sent else ""
    token = check_token(here.receiver.database, bearer, here.receiver.now())
    request.state.who = f"token {token}"
    return bearer


def _box(request: Request, here: Here, sent: Annotated[_Credentials, Depends(_box_jwt)]) -> BoxCaller:
    bearer, receiver = sent.credentials if sent else "", here.receiver
    caller = box_caller(receiver.database, bearer, receiver.now(), here.seen_tokens)
    request.state.who = f"box {caller.box}"
    return caller


Reader = Annotated[KeyCaller, Depends(_reader)]
Admin = Annotated[KeyCaller, Depends(_admin)]
TokenHolder = Annotated[str, Depends(_token_holder)]
BoxCalling = Annotated[BoxCaller, Depends(_box)]


def _check_health(receiver: Receiver) -> Health:
    failing = []
    try:
        with receiver.database.write() as connection:
            connection.execute(delete(health))
            connection.execute(insert(health).values(id=1, at=as_text(receiver.now())))
    except SQLAlchemyError as error:
        log.warning("health", failing="database", error=str(error))
        failing.append("database")
    try:
        receiver.landing.probe()
    except (BaseError, OSError) as error:
        log.warning("health", failing="landing", error=str(error))
        failing.append("landing")
    return Health(status="failing" if failing else "ok", failing=tuple(failing))
