"""What can be read in pictures: languages, the letters that engines have, lines of text. No Django, no torch."""
