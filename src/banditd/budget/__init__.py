"""Budgets: the price of a dollar that keeps one, and the fixed-arm mixture for comparison. Pure."""
