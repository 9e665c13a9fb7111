"""One blueprint a noun: each reads, and hands what it read to a template."""
