"""Answering through the gateway: route, call the arm's upstream, stream the answer, settle its cost. No HTTP here.

``gateway.Gateway`` creates an ``exchange.Exchange`` for every request. It routes and reports usage just as a client
would; routing and rewards do not know about it.
"""
