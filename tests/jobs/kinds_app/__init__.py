"""A Django app with kinds of job that need no model: for the tests of the queue, the kill test and the benchmarks."""
