"""Data types that all stores share: records, requests, ids, addresses, limits, cron expressions and the clock.
Internal.
"""
