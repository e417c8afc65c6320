"""Where objects are kept."""

from einthoven.storage.addresses import open_store
from einthoven.storage.blocks import KeptSegment
from einthoven.storage.dataset import MasterDataset, SealedObject
from einthoven.storage.objects import FolderStore, ObjectStore

__all__ = ["FolderStore", "KeptSegment", "MasterDataset", "ObjectStore", "SealedObject", "open_store"]
