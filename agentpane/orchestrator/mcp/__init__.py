"""Tool servers: programs and addresses whose tools the in-process agent calls, under the same policy as its own.

The SDK takes over a second to import; only `connection` and `results` see it, and they are loaded in a thread when the
first server is started.
"""
