"""The walk of an answer: route, call the arm's upstream, stream it through, settle what it took. No HTTP in it.

``gateway.Gateway`` makes an ``exchange.Exchange`` for every request. It calls routing and reports usage as a client
would: nothing in them knows it.
"""
