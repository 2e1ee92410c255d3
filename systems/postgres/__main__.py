"""`python -m systems.postgres --environment FILE`: one PostgreSQL server, primary or standby."""

from harness.foreign import run_foreign
from systems.postgres.server import PostgresServer

if __name__ == "__main__":
    run_foreign(PostgresServer)
