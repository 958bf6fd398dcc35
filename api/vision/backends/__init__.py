"""What looks at pictures: detectors of transformers and of YOLO's exports. No Django."""
