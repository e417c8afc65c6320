"""Pictures of ECG as SVG and HTML text: paper, strips, pages. No I/O, no library."""

from einthoven.pictures.paper import MM_PER_MV, MM_PER_S, Paper
from einthoven.pictures.svg import Svg

__all__ = ["MM_PER_MV", "MM_PER_S", "Paper", "Svg"]
