"""The service: what talks to the world."""
