"""The server with kinds of job that need no model, in the place of those that do: what is measured then is everything around them."""
