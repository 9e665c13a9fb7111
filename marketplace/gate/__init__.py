"""A gate: opens one sealed cohort in memory, with a quorum's turns, and lets only noise through."""
