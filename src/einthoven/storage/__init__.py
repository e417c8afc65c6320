"""Where objects and tables are kept."""

from einthoven.storage.addresses import open_store
from einthoven.storage.blocks import KeptSegment
from einthoven.storage.database import LOCK, Connection, Database, Statements, within
from einthoven.storage.dataset import MasterDataset, SealedObject
from einthoven.storage.objects import FolderStore, ObjectStore
from einthoven.storage.opening import open_database

__all__ = [
    "LOCK",
    "Connection",
    "Database",
    "FolderStore",
    "KeptSegment",
    "MasterDataset",
    "ObjectStore",
    "SealedObject",
    "Statements",
    "open_database",
    "open_store",
    "within",
]
