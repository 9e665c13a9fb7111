"""Lanes: how the answer to a sealed request is computed. One signature: Sealed -> Computed."""
