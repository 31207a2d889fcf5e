"""Splits the costs of a trip among friends, to the cent."""
