"""Code of WorkerFunction for deployments under test; each process loads its file anew."""

from pathlib import Path

RANDOM_PROGRAMS = Path(__file__).with_name("random_programs.py")
REGISTERED = Path(__file__).with_name("registered.py")
WORKFLOWS = Path(__file__).with_name("workflows.py")
