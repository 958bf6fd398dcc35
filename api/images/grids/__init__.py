"""Grids: one request with some of its fields varied, each cell a job of its own, and one picture with labels of them all."""
