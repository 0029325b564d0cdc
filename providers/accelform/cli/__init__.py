"""The console script `accelform`."""
