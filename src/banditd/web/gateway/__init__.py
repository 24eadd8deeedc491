"""Shared by the gateway's surfaces: model names, options, errors in the client's form, the relay."""
