"""What every store shares: records, requests, ids, addresses, limits, cron expressions and the clock. Internal."""
