"""Store in a DynamoDB table, with large values in S3. Internal."""
