"""Nodes of a site and the nanoservices that they run: who runs what, decided and followed. No I/O."""
