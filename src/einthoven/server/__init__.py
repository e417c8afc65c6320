"""The service: HTTP in front, workers behind it, everything that was accepted on disk."""
