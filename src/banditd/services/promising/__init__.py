"""Promises, rollouts and modes of policies: what holds, who keeps them, what is said of them."""
