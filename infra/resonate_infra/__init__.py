"""Adapters to AWS: timers, transports, settings. Also the development server, the offline stack and the command line.

The Lambda functions import from this package. `resonate` and `resonate_store` do not. Import single modules, so that a
function loads only the adapters that it uses.
"""
