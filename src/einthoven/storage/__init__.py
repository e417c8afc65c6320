"""Where objects are kept."""

from einthoven.storage.addresses import open_store
from einthoven.storage.objects import FolderStore, ObjectStore

__all__ = ["FolderStore", "ObjectStore", "open_store"]
