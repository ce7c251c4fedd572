"""A thin client for central teams: `pip install alumiguard`, then iterate over records.

with ReceiverClient("https://receiver.example", key) as receiver:
    for stored in receiver.records(kind="inspection"):
        ...
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx
import msgspec

from cloud_receiver.answers import BoxList, BoxView
from sync import record

_PAGE_RECORDS = 1000


class ReceiverRefused(Exception):
    """The receiver said no. The message is its own, with what to do next."""


@dataclass(frozen=True, slots=True)
class ReceivedRecord:
    """A record with where it came from; `record.line` holds the bytes that the box wrote."""

    box: str
    epoch: str
    received_at: str
    record: record.Record


class _Stored(msgspec.Struct):
    box: str
    epoch: str
    received_at: str
    record: msgspec.Raw


class _Page(msgspec.Struct):
    records: list[_Stored]
    next: str
    more: bool


class _Problem(msgspec.Struct):
    detail: str


class ReceiverClient:
    """Reads from one receiver with an API key of role reader. Use it as a context manager."""

    def __init__(self, url: str, key: str, *, transport: httpx.BaseTransport | None = None) -> None:
        """Nothing is connected yet. `transport` replaces the network, for tests and proxies."""
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=60.0, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def boxes(self) -> tuple[BoxView, ...]:
        """Every box and how far its logs are held.

        Raises:
            ReceiverRefused: if the key is not accepted.
            httpx.TransportError: if the receiver cannot be reached.
        """
        return BoxList.model_validate_json(self._get("/v1/boxes", {})).boxes

    def records(
        self,
        *,
        box: str | None = None,
        epoch: str | None = None,
        kind: str | None = None,
        after: str | None = None,
    ) -> Iterator[ReceivedRecord]:
        """Every record held now, in the order of acceptance, page by page. Raises as `boxes` does."""
        wanted = {"box": box, "epoch": epoch, "kind": kind, "limit": str(_PAGE_RECORDS)}
        query = {name: value for name, value in wanted.items() if value is not None}
        more = True
        while more:
            page = msgspec.json.decode(
                self._get("/v1/records", query | ({"after": after} if after else {})), type=_Page
            )
            for stored in page.records:
                read = record.decode(bytes(stored.record))
                yield ReceivedRecord(stored.box, stored.epoch, stored.received_at, read)
            after, more = page.next, page.more

    def _get(self, path: str, query: dict[str, str]) -> bytes:
        answer = self._http.get(path, params=query)
        if answer.is_success:
            return answer.content
        try:
            detail = msgspec.json.decode(answer.content, type=_Problem).detail
        except msgspec.DecodeError:
            detail = f"{answer.status_code} {answer.reason_phrase}; check that the URL is a receiver's"
        raise ReceiverRefused(detail)
