"""Where the subject of a picture is."""
