"""The database's secret: made by the first replica that opens it, read by every other, and by nothing else.

It is a row like others, so a copy of the database carries it and hashes go on matching. Whoever may read the
tables may read it: it guards what leaves the database (hashes, links), not the database.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from sqlalchemy import Connection, select

from banditd.core.errors import InvariantError
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import secret

SECRET_BYTES: Final = 32
_NAME: Final = "database"


class DatabaseSecrets:
    """``ports.Secrets`` over the secret of one database."""

    __slots__ = ("_root",)

    def __init__(self, root: bytes) -> None:
        if len(root) != SECRET_BYTES:
            raise InvariantError(f"the database's secret has {len(root)} bytes instead of {SECRET_BYTES}")
        self._root = root

    def key(self, purpose: str) -> bytes:
        if not purpose:
            raise InvariantError("a key needs a purpose")
        # The expansion of HKDF (RFC 5869) to one block; the root is uniform, so it needs no extraction.
        return hmac.digest(self._root, b"banditd " + purpose.encode() + b"\x01", "sha256")


async def load_secrets(database: Database, now_us: int) -> DatabaseSecrets:
    """The secret of a migrated database, made now if it has none. Of replicas that start together one makes it.

    Raises StorageUnavailableError when the database does not answer.
    """
    query = select(secret.c.value).where(secret.c.name == _NAME)
    found: bytes | None = await database.read(lambda connection: connection.execute(query).scalar())
    if found is None:
        new = dialect.insert_into(database.engine, secret).values(
            name=_NAME, value=secrets.token_bytes(SECRET_BYTES), created_at_us=now_us
        )
        offered = new.on_conflict_do_nothing(index_elements=["name"])

        def offer(connection: Connection) -> None:
            connection.execute(offered)

        await database.write(offer)
        # Whoever was first has won, and its row is committed: an insert that conflicts waits for that.
        made: bytes = await database.read(lambda connection: connection.execute(query).scalar_one())
        return DatabaseSecrets(bytes(made))
    return DatabaseSecrets(bytes(found))
