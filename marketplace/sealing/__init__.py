"""Client side: dictionary and values -> sealed record. Knows no chain and no store."""
