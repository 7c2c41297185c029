"""Behaviour analysis: anomalies, their causes and their life cycle."""
