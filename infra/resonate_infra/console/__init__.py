"""The console: a web application that shows executions, and makes them continue (docs/console.md)."""
