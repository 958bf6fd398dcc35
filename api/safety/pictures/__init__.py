"""The check of finished pictures: a classifier that withholds some. Off by default, for all or by key."""
