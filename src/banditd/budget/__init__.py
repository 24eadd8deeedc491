"""Money: the price that holds a budget, and the fixed-arm mixture it is measured against. Pure."""
