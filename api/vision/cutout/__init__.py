"""Cutting the subject out of a picture: its pixels on a transparent ground, or its mask."""
