"""Thin handlers: parse, call one service, answer. One module per topic."""
