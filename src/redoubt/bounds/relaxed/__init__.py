"""Incomplete bounds: intervals, linear bounds backwards, better slopes."""
