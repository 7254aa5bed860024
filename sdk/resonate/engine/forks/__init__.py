"""Forks: which records of an execution a new execution begins with. Pure."""
