"""Kills of every part of a server, in every shape that README offers, while clients send jobs: `python -m benchmarks.kill_matrix`."""
