"""Text in pictures: boxes by PP-OCR, letters by PP-OCR, Tesseract, or another server. No Django."""
