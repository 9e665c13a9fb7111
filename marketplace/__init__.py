"""Usufruct: a marketplace for health data that is lent for one question at a time, never sold."""
