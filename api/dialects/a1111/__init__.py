"""AUTOMATIC1111's API (/sdapi/v1, /internal), over this server's jobs."""
