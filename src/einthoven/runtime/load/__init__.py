"""The engine of the virtual patients: performs a plan of deliveries over HTTP and counts what came of it."""
