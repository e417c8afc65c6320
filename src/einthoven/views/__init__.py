"""The lambda architecture's views: counted once, merged in any portions, asked over any span; no I/O."""

from einthoven.views.days import DAY_NS, day_of, edges_of, hours_of, joined
from einthoven.views.episodes import GOES_ON, Episodes, burden, columns_of, onsets, rows_of
from einthoven.views.growing import Carried, grow, grow_all, settled
from einthoven.views.packing import (
    pack_carried,
    pack_episodes,
    pack_part,
    pack_tallies,
    unpack_carried,
    unpack_days,
    unpack_episodes,
    unpack_part,
    unpack_tallies,
)
from einthoven.views.seen import Past, Seen, cell_ns, grid_ns, outside, past_of, seen_of
from einthoven.views.tallies import DAY, HOUR, PIECE, Field, Measures, Tallies, measures

__all__ = [
    "DAY",
    "DAY_NS",
    "GOES_ON",
    "HOUR",
    "PIECE",
    "Carried",
    "Episodes",
    "Field",
    "Measures",
    "Past",
    "Seen",
    "Tallies",
    "burden",
    "cell_ns",
    "columns_of",
    "day_of",
    "edges_of",
    "grid_ns",
    "grow",
    "grow_all",
    "hours_of",
    "joined",
    "measures",
    "onsets",
    "outside",
    "pack_carried",
    "pack_episodes",
    "pack_part",
    "pack_tallies",
    "past_of",
    "rows_of",
    "seen_of",
    "settled",
    "unpack_carried",
    "unpack_days",
    "unpack_episodes",
    "unpack_part",
    "unpack_tallies",
]
