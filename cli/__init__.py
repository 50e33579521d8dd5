"""`./troupe`: what operators do at a terminal, through the admin API of a running Troupe.

Knows the API and nothing of Troupe's inside.
"""
