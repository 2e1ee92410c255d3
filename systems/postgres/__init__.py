"""PostgreSQL as a system under test: a cluster of its own, made in the run's folder."""
