"""Pictures in a bucket that speaks S3's protocol. Needs requirements-s3.txt: imported by its dotted name alone (config/media.py)."""
