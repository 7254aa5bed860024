"""Clients of AWS for the hot path: DynamoDB, invocations of Lambda and messages to SQS. Internal."""
