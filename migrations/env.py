"""Alembic's entry. The daemon shares its connection; by hand (``alembic -c migrations/alembic.ini ...``) the
URL comes from ``-x url=...`` or ``BANDITD_DATABASE__URL``."""

from __future__ import annotations

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import Connection

from banditd.storage import dialect
from banditd.storage.partitions.layout import alembic_filter
from banditd.storage.schema import metadata


def run(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        # Tables that are rebuilt take their name again although views speak of it meanwhile.
        connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        compare_server_default=True,
        include_object=alembic_filter(connection),
    )
    with context.begin_transaction():
        context.run_migrations()


def run_by_hand() -> None:
    url = context.get_x_argument(as_dictionary=True).get("url") or os.environ.get("BANDITD_DATABASE__URL")
    if not url:
        raise SystemExit("Name the database: -x url=sqlite:///banditd.db or BANDITD_DATABASE__URL")
    if context.config.config_file_name is not None:
        # Only here: inside the daemon this would silence its loggers.
        fileConfig(context.config.config_file_name)
    engine = dialect.make_engine(
        dialect.normalise_url(url), pool_size=1, busy_timeout_s=60.0, enforce_foreign_keys=False
    )
    with dialect.writing(engine).connect() as connection, connection.begin():
        dialect.lock_migrations(connection)
        run(connection)
    engine.dispose()


shared = context.config.attributes.get("connection")
if context.is_offline_mode():
    raise SystemExit("Migrations need a database: data is moved, not only tables")
if shared is not None:
    run(shared)
else:
    run_by_hand()
