"""Where objects are kept."""

from einthoven.storage.objects import FolderStore, ObjectStore

__all__ = ["FolderStore", "ObjectStore"]
