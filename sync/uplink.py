"""The way out: batch after batch to the receiver, each until its receipt is held.

    log ─► checkpoint ─► batch ─► POST ─► receipt verified ─► cursor moved
                           ▲         │
                           └─ again ─┘  with back-off; the same bytes, so that nothing can be applied twice

Nothing local depends on it: trouble with the network, the receiver or the disk is told in `state` and waited
out.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus

import httpx
import msgspec
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential
from tenacity.wait import wait_base

from sync import chain, outbox, record, wire
from sync.audit_log import AuditLog, LogClosed, LogDamaged, LogUnwritable
from sync.identity import Identity, IdentityError

BACK_OFF: wait_base = wait_random_exponential(multiplier=0.5, max=20)
REFUSED_SECONDS = 60.0
"""Between two tries at a receiver that says no: a person has to do something first."""

CHECKPOINT_SECONDS = 2.0
"""At most this often a checkpoint is signed only in order to send."""

_MAX_RETRY_AFTER_SECONDS = 3600.0
_MAX_ANSWER_BYTES = 64 * 1024
_PROBLEM_PREFIX = "urn:alumiguard:problem:"

diagnostics = structlog.get_logger()


class LinkTrouble(Exception):
    """The batch has no receipt yet. It is sent again, after `after_seconds` if that is told."""

    def __init__(self, message: str, after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


@dataclass(slots=True)
class LinkState:
    """What is known of the way out, now. Times are of `time.monotonic`.

    Attributes:
        connected: the last exchange with the receiver ended with a receipt that holds.
        detail: a sentence for a person: what is wrong and what happens next.
        held_through_seq: the receiver has signed that it holds everything up to here.
        last_receipt_mono: when the last receipt came; None since the process started.
        forked: the receiver holds another history of this epoch. Sending has stopped: this is an alarm.
    """

    log: AuditLog
    held_through_seq: int
    connected: bool = False
    detail: str = "Nothing was sent yet"
    last_receipt_mono: float | None = None
    forked: bool = False

    @property
    def backlog_records(self) -> int:
        """Records that the receiver does not hold."""
        return max(0, self.log.head.seq - self.held_through_seq)


class Uplink:
    """Ships one log to one receiver. `run` does the work; `state` tells how it goes."""

    def __init__(
        self,
        log: AuditLog,
        identity: Identity,
        clock: record.Clock,
        *,
        make_client: Callable[[], httpx.AsyncClient] | None = None,
        wait: wait_base = BACK_OFF,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        """`make_client`, `wait` and `sleep` are for tests; by default `open_client(identity)` is used.

        Raises:
            IdentityError: if the box was not enrolled.
        """
        if identity.receiver is None:
            raise IdentityError(f"box {identity.box!r} has no receiver: run `alumiguard enrol` first")
        self.state = LinkState(log, log.receipted_through)
        self._log = log
        self._identity = identity
        self._receipt_key = identity.receiver.receipt_key
        self._clock = clock
        self._make_client = make_client or partial(open_client, identity)
        self._wait = wait
        self._sleep = sleep
        self._checkpoint_seconds = checkpoint_seconds
        self._checkpointed_mono = -checkpoint_seconds
        self._position = log.receipted_through

    async def run(self) -> None:
        """Ship until cancelled. Returns when the log is closed, or when the histories forked."""
        retrying = AsyncRetrying(
            sleep=self._sleep,
            wait=self._seconds_to_wait,
            retry=retry_if_exception_type((LinkTrouble, LogUnwritable, LogDamaged)),
            before_sleep=self._tell_trouble,
        )
        async with self._make_client() as client:
            try:
                while True:
                    await retrying.copy()(self._step, client)
            except LogClosed:
                return
            except outbox.Forked as fork:
                self._stop_forked(fork)

    async def _step(self, client: httpx.AsyncClient) -> None:
        """Send the next batch; when there is none, wait for a record and sign so that there is one."""
        batch = await self._next_batch()
        if batch is None:
            await self._log.wait_beyond(self._position)
            await self._sleep(self._seconds_to_checkpoint())
            self._checkpointed_mono = time.monotonic()
            await self._log.checkpoint()
            return
        receipt = await self._deliver(client, batch)
        if receipt is None:
            return
        await self._log.accept_receipt(batch.last, receipt)
        self._position = self.state.held_through_seq = batch.last
        self.state.last_receipt_mono = time.monotonic()
        if not self.state.connected:
            diagnostics.info("the receiver answers", held_through=batch.last)
        self.state.connected = True
        self.state.detail = "The receiver answers"

    async def _next_batch(self) -> outbox.Outgoing | None:
        try:
            return await asyncio.to_thread(outbox.next_batch, self._log.path, self._position)
        except outbox.OutboxUnreadable as error:
            raise LinkTrouble(str(error)) from error

    async def _deliver(self, client: httpx.AsyncClient, batch: outbox.Outgoing) -> bytes | None:
        """The receipt for a batch, verified; None if another batch is wanted, from `self._position` on."""
        response, body = await _post(client, batch.packed, self._identity.token(self._now_seconds()))
        if response.status_code == HTTPStatus.OK:
            return self._verified(body, batch)
        problem = _read_problem(body)
        if problem.code == "fork":
            raise outbox.Forked(problem.detail)
        if problem.code in ("gap", "overlap") and problem.mark is not None:
            await self._go_to(problem.mark, batch)
            return None
        raise _trouble(response, problem)

    def _verified(self, receipt: bytes, batch: outbox.Outgoing) -> bytes:
        try:
            body, _ = chain.open_cosignature(receipt, self._receipt_key)
            same = body == chain.note_body(batch.note)
        except chain.NoteError as error:
            raise LinkTrouble(
                f"The receipt for records {batch.first} to {batch.last} does not hold ({error}): check who "
                "answers at the receiver's address; sending again",
                REFUSED_SECONDS,
            ) from error
        if not same:
            raise LinkTrouble(
                f"The receipt for records {batch.first} to {batch.last} is for another checkpoint: check the "
                "receiver; sending again",
                REFUSED_SECONDS,
            )
        return receipt

    async def _go_to(self, mark: outbox.Mark, batch: outbox.Outgoing) -> None:
        try:
            self._position = await asyncio.to_thread(outbox.position, self._log.path, mark)
        except outbox.OutboxUnreadable as error:
            raise LinkTrouble(str(error)) from error
        if self._position == batch.first - 1:
            raise LinkTrouble(
                f"The receiver stands at record {mark.seq} and does not take the batch that follows it: "
                "check the receiver; sending again",
                REFUSED_SECONDS,
            )
        self.state.held_through_seq = self._position
        diagnostics.warning("the receiver wants other records", position=self._position)

    def _seconds_to_checkpoint(self) -> float:
        return max(0.0, self._checkpointed_mono + self._checkpoint_seconds - time.monotonic())

    def _seconds_to_wait(self, attempt: RetryCallState) -> float:
        error = None if attempt.outcome is None else attempt.outcome.exception()
        asked = error.after_seconds if isinstance(error, LinkTrouble) else None
        if asked is None:
            return float(self._wait(attempt))
        return asked * random.uniform(1.0, 1.1)  # noqa: S311 - spreads the boxes of a site, is no secret

    def _tell_trouble(self, attempt: RetryCallState) -> None:
        error = None if attempt.outcome is None else attempt.outcome.exception()
        if self.state.connected or attempt.attempt_number == 1:
            diagnostics.warning("records wait on the box", reason=str(error))
        self.state.connected = False
        self.state.detail = str(error)

    def _stop_forked(self, fork: outbox.Forked) -> None:
        self.state.forked = True
        self.state.connected = False
        self.state.detail = (
            f"Sending has stopped: {fork}. This box's disk was restored or copied; its records stay here. "
            "Start a new epoch on this box, and find out whether a copy of it is running"
        )
        diagnostics.error("the histories of box and receiver differ", reason=str(fork))

    def _now_seconds(self) -> float:
        return datetime.fromisoformat(self._clock.stamp().at).timestamp()


def open_client(identity: Identity) -> httpx.AsyncClient:
    """A client for the box's receiver, which shows the box's certificate.

    It trusts the system's CAs and the receiver's own. Proxies are never taken from the environment.

    Raises:
        IdentityError: if the box was not enrolled.
    """
    if identity.receiver is None:
        raise IdentityError(f"box {identity.box!r} has no receiver: run `alumiguard enrol` first")
    context = ssl.create_default_context()
    context.load_verify_locations(identity.ca_path)
    context.load_cert_chain(identity.certificate_path, identity.box_key_path)
    return httpx.AsyncClient(
        base_url=identity.receiver.url,
        verify=context,
        timeout=httpx.Timeout(30.0, connect=10.0),
        trust_env=False,
    )


@dataclass(frozen=True, slots=True)
class _Problem:
    type: str = ""
    detail: str = ""
    mark: outbox.Mark | None = None

    @property
    def code(self) -> str:
        return self.type.removeprefix(_PROBLEM_PREFIX)


async def _post(client: httpx.AsyncClient, packed: bytes, token: str) -> tuple[httpx.Response, bytes]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": wire.MEDIA_TYPE}
    body = b""
    try:
        async with client.stream("POST", "/v1/batches", content=packed, headers=headers) as response:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MAX_ANSWER_BYTES:
                    break
    except httpx.RequestError as error:
        raise LinkTrouble(
            f"The receiver at {client.base_url} cannot be reached ({str(error) or type(error).__name__}); "
            "trying again"
        ) from error
    return response, body


def _read_problem(body: bytes) -> _Problem:
    """What the receiver says is wrong; empty when it was not the receiver that answered."""
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _Problem()


def _trouble(response: httpx.Response, problem: _Problem) -> LinkTrouble:
    status = response.status_code
    said = problem.detail[:500] or f"status {status}"
    asked = _retry_after_seconds(response.headers)
    if problem.code and 400 <= status < 500 and status != HTTPStatus.TOO_MANY_REQUESTS:
        return LinkTrouble(f"The receiver refuses the batch: {said}", asked or REFUSED_SECONDS)
    return LinkTrouble(f"The receiver at {response.url.host} answered {said}; trying again", asked)


def _retry_after_seconds(headers: httpx.Headers) -> float | None:
    """The Retry-After of an answer in seconds; a date counts from the answer's Date, not from our clock."""
    asked = headers.get("Retry-After")
    if asked is None:
        return None
    try:
        if asked.strip().isascii() and asked.strip().isdigit():
            seconds = float(asked)
        else:
            until, now = parsedate_to_datetime(asked), parsedate_to_datetime(headers["Date"])
            seconds = (until - now).total_seconds()
    except (ValueError, KeyError, TypeError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)
