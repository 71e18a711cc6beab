"""Alembic's entry: runs the revisions on the connection, and in its transaction, that ``plw.registry.migrate`` has."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
