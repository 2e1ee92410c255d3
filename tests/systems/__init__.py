"""Tests of the bundled systems. A package, so that `tests.systems.kafka` and a client library named `kafka` are two things."""
