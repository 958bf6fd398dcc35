"""Enlarging pictures: the network tile by tile, so that memory does not grow with the picture.  [torch; no Django]

enlarge.py   a picture and a model of the catalog → a picture as many times as wide and high
tiles.py     a network over a picture, tile by tile
"""
