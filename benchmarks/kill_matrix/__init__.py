"""Kills of every part of a server, in every shape that README offers, while clients send what clients send: `python -m benchmarks.kill_matrix`."""
