"""What happened to one patient in one dataset, and which announced studies could use the record next."""

from marketplace.timelines.entries import Entry, Kind
from marketplace.timelines.service import MOST_ENTRIES, Timelines
from marketplace.timelines.studies import Study

__all__ = ["MOST_ENTRIES", "Entry", "Kind", "Study", "Timelines"]
