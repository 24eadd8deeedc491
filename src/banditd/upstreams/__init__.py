"""Floor 4: the endpoints that models stand behind: HTTP, server-sent events, errors in classes, keys by reference."""
