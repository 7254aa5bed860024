"""Clients of AWS for the hot path: DynamoDB, and what Lambda and SQS are sent. Internal."""
