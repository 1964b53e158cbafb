"""The live world: replays a plan against a real checkout API, carried by Locust.

Start from `doorbuster_load.launch.run_live`. Importing this package imports neither Locust nor
gevent; the generator process does.
"""
