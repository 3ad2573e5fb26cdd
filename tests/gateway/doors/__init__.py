"""Tests of gateway/doors."""
