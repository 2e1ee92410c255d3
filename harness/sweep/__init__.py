"""Sweeps: configurations × nemeses × seeds, to learn which settings lose data.

matrix       what is asked: rows of settings, columns of nemeses, and what is predicted for each cell
predictions  how a cell's prediction is written and compared with what was found
executors    where runs go: the cores of this machine, or a Dask cluster
table        one line a run, in Parquet as they come, read with DuckDB
cells        what the runs of a cell say together
campaign     a sweep from beginning to end, or from where it was interrupted
matrices/    the tables that are shipped
"""
