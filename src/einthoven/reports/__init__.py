"""Reports of recordings: what is said, the strips that show it, and the pages of a PDF."""

from einthoven.reports.content import Report
from einthoven.reports.gathering import gather
from einthoven.reports.heading import Heading, State

__all__ = ["Heading", "Report", "State", "gather"]
