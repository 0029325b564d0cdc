"""Accelform's six Pulumi resources and everything they stand on."""
