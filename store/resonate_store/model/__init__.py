"""Data types of all stores: records, requests, ids, addresses, limits, cron expressions, the clock. Internal."""
