"""API keys: made once, shown once, withdrawn by name."""

from sqlalchemy import insert, select, update

from cloud_receiver.auth import API_KEY_PREFIX, Role, digest_of, new_secret
from cloud_receiver.database import api_keys, as_text
from cloud_receiver.receiver import Receiver
from cloud_receiver.security_events import note_event


class ApiKeyError(ValueError):
    """An order about an API key that cannot be carried out. The message says what to do instead."""


def create_key(receiver: Receiver, name: str, role: Role) -> str:
    """Make an API key and return it. Only its hash is kept.

    Raises:
        ApiKeyError: if the name is taken (a revoked key keeps its name) or cannot be shown.
    """
    if not name.isprintable() or not 1 <= len(name) <= 64:
        raise ApiKeyError("a key's name has 1 to 64 printable characters; give another --name")
    now, secret = receiver.now(), new_secret(API_KEY_PREFIX)
    with receiver.database.write() as connection:
        if connection.execute(select(api_keys.c.name).where(api_keys.c.name == name)).scalar() is not None:
            raise ApiKeyError(f"there is, or was, a key named {name!r}; give another --name")
        row = {"name": name, "role": role.value, "created_at": as_text(now)}
        connection.execute(insert(api_keys).values(secret_sha256=digest_of(secret), **row))
        note_event(connection, now, "key-created", "cli", f"{name}, {role}")
    return secret


def revoke_key(receiver: Receiver, name: str) -> None:
    """Refuse the key from its next request on. Revoking twice is no error.

    Raises:
        ApiKeyError: if there is no such key.
    """
    now = receiver.now()
    with receiver.database.write() as connection:
        if connection.execute(select(api_keys.c.name).where(api_keys.c.name == name)).scalar() is None:
            raise ApiKeyError(f"there is no key named {name!r}; check the name it was created with")
        live = update(api_keys).where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
        if connection.execute(live.values(revoked_at=as_text(now))).rowcount:
            note_event(connection, now, "key-revoked", "cli", name)
