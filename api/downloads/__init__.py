"""Weights on disk: which files of a repository may be fetched, fetching them, and knowing that they are whole. No torch, no Django."""
