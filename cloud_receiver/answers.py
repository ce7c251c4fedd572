"""What the receiver takes and answers, as the OpenAPI document shows it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Health(_Model):
    """`ok` when a batch could be accepted now: database and landing take writes."""

    status: Literal["ok", "failing"]
    failing: tuple[str, ...] = ()


class EnrolRequest(_Model):
    """A box introduces itself: its certificate request and the public key that signs its log."""

    box: str = Field(max_length=63)
    site: str = Field(max_length=64)
    csr_pem: str = Field(max_length=8192)
    log_key: str = Field(max_length=512, description="C2SP verifier key named alumiguard/<box>")


class Enrolled(_Model):
    """What the box needs from now on; `receipt_key` is the key that receipts are checked with."""

    box: str
    certificate_pem: str
    ca_pem: str
    receipt_key: str


class EpochView(_Model):
    """How far one epoch of a box's log is held, from 1 to `seq` without a gap. `head`: the chain, in hex."""

    epoch: str
    seq: int
    head: str
    began_at: str
    advanced_at: str


class BoxView(_Model):
    """A box as the receiver knows it. `last_contact` is None until its first batch."""

    box: str
    site: str
    enrolled_at: str
    certificate_not_after: str
    last_contact: str | None
    revoked_at: str | None
    records: int
    set_aside: int
    epochs: tuple[EpochView, ...]


class BoxList(_Model):
    """Every box that ever enrolled."""

    boxes: tuple[BoxView, ...]


class StoredRecord(_Model):
    """A record, byte for byte as the box wrote it, and where it came from."""

    box: str
    epoch: str
    received_at: str
    record: dict[str, Any]


class RecordPage(_Model):
    """Records in the order of their acceptance. `next` goes on after the last one, now or later.

    A page may be short, even empty, while `more` is true: a request reads only so much.
    """

    records: tuple[StoredRecord, ...]
    next: str
    more: bool


class SecurityEventView(_Model):
    """Something that was refused or changed. `times` counts repeats within a minute of `at`."""

    id: int
    at: str
    last_at: str
    reason: str
    who: str
    peer: str
    detail: str
    times: int


class SecurityEventPage(_Model):
    """Security events, oldest first; ask again with `after` set to `next`."""

    events: tuple[SecurityEventView, ...]
    next: int
