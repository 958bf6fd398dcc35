"""Backups of the database and of the pictures that its rows name, taken while the server runs, and their way back.

A target folder holds any number of backups, which share the pictures' files by content:

    TARGET/media/ab/abcd…         each file once, under its SHA-256
    TARGET/20261128T223000Z/      one backup: the database, `files.jsonl.gz` (which row's file has which content), and `manifest.json`

The manifest is written last, with the hashes of the other two, and the folder has its name from then on: before, it ends in `.part`.
"""
