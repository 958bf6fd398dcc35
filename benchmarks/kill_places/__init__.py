"""A worker that makes real pictures is killed at each place of their way; another must end each request once, with its own pictures.

    python -m benchmarks.kill_places

Nine mixed requests (tests/backends/faults.py) are made by a worker of the starter model, which is killed (SIGKILL, by itself) when its
work reaches a place for the n-th time. The next worker takes what it held. Exit code 1 where a request is lost, doubled, has other
pictures than without a kill, or where files and rows don't agree once orphans were swept.
"""
