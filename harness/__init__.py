"""The engine of chaos: operations, history, generators, runner, simulator, clusters and command line."""
