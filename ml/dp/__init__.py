"""Differentially private aggregates over fixed-point tables.

Neighbouring tables differ by *replacing* one member's record by any in-domain or null record;
membership is public. Privacy is accounted in zero-concentrated differential privacy (zCDP), as
integer nano-rho. All noise comes from OpenDP's exact discrete samplers.
"""
