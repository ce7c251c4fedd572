"""What a security officer would ask about: who was refused what, and which tokens, keys and boxes came."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from cloud_receiver.database import as_text, security_events

MAX_DETAIL_CHARACTERS = 500
_FOLD = timedelta(minutes=1)


def note_event(
    connection: Connection, now: datetime, reason: str, who: str, detail: str, peer: str = "local"
) -> None:
    """Keep one event."""
    event = {"reason": reason, "who": who, "peer": peer, "detail": detail[:MAX_DETAIL_CHARACTERS], "times": 1}
    connection.execute(insert(security_events).values(at=as_text(now), last_at=as_text(now), **event))


def note_refusal(
    connection: Connection, now: datetime, reason: str, who: str, detail: str, peer: str
) -> None:
    """Keep a refusal. The same reason, caller and peer within a minute are one row that counts.

    That keeps a caller who is refused a thousand times a second from filling the disk. Forks are one row only
    if they are the same fork.
    """
    row = security_events.c
    same = [row.reason == reason, row.who == who, row.peer == peer, row.at >= as_text(now - _FOLD)]
    if reason == "fork":
        same.append(row.detail == detail[:MAX_DETAIL_CHARACTERS])
    newest = select(row.id).where(*same).order_by(row.id.desc()).limit(1)
    known = connection.execute(newest).scalar()
    if known is None:
        note_event(connection, now, reason, who, detail, peer)
        return
    again = update(security_events).where(row.id == known)
    connection.execute(again.values(times=row.times + 1, last_at=as_text(now)))
