"""What stands between the store and AWS: timers, transports, settings, the offline stack, the command line.

Functions import from here; `resonate` and `resonate_store` never do. Modules are imported one by one, so that
a Lambda function loads only the adapters it uses.
"""
