"""Tests of finance's office."""
