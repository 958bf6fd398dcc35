"""What jobs found in pictures, as the studio's pages show it: rows that can be drawn over the picture, and words.

pictures.py  one function for each kind of job that looks at a picture
"""
