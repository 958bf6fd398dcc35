"""What is in each cell of interest of a picture (YOLIC)."""
