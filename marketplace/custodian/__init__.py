"""A custodian: holds one share of every record key, and turns it only for what the chain sealed."""
