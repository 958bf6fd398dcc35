"""Requests with a name, that others begin with."""
