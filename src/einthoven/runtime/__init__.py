"""Performs: runs the functions over segments and recordings, in this process or in a pool."""
