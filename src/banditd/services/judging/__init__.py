"""Judges score a share of the gateway's answers. Their verdicts are rewards, until people's ratings contradict
them.
"""
