"""The environment variables that a template gives to the dispatcher and the tick function."""

ENVIRONMENT = {
    "RESONATE_TABLE": "promises",
    "RESONATE_GROUPS": '{"worker": "lambda://worker", "remote": "https://worker.example.com/"}',
    "RESONATE_TIMER_QUEUE_URL": "https://sqs/timers",
    "RESONATE_PUSH_QUEUE_URL": "https://sqs/pushes",
    "RESONATE_SCHEDULE_GROUP": "timers",
    "RESONATE_SCHEDULE_ROLE_ARN": "arn:aws:iam::1:role/scheduler",
    "RESONATE_TICK_ARN": "arn:aws:lambda:us-east-1:1:function:tick",
    "RESONATE_RETENTION_SECONDS": "86400",
}
